"""Figures and annotated videos of heatmaps and scores."""
