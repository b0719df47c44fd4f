"""What many videos cost, measured on few: the figures of docs/scale.md.

    python benchmarks/scale.py rates DVC_TABLE... | simulation [1000000] | queue [1000 1000000] | ray PROJECT
"""
