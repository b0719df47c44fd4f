"""Heatmaps -> how far they can be trusted."""
