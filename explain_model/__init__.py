"""Explain verdicts with heatmaps, and evaluate how far the heatmaps can be trusted."""
