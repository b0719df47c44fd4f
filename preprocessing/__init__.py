"""Preprocessing: videos -> video index -> face boxes -> face crops."""
