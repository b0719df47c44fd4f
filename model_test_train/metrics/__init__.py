"""Metrics from labels and fake probabilities, their confidence intervals, and tests of differences between two detectors."""
