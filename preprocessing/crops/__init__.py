"""Frames and face boxes -> face crops on disk; and reading the crops."""
