"""Benchmarks: each prints a table of times or memory."""
