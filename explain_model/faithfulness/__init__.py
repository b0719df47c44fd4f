"""Metrics of how far heatmaps can be trusted."""
