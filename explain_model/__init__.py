"""Verdicts into heatmaps, and heatmaps into figures of how far they can be trusted."""
