"""Compute heatmaps of face crops: relevancy, CAM methods and concepts."""
