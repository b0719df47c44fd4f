"""Trains, tests and explains every network of a folder of YAMLs, and compares them in a table."""
