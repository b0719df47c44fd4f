"""Names of training data whose networks give verdicts with a warning, or none."""

DRAWN_DATA = "DEMO"
UNKNOWN_DATA = "unknown"  # for imported weights
PORTRAITS_DATA = "PORTRAITS"
