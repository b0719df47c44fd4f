"""Heatmaps and scores -> figures and annotated videos."""
