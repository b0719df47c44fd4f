"""Names of training data whose networks give verdicts with a warning, or none."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a network needs no metrics
    pass

DRAWN_DATA = "DEMO"
UNKNOWN_DATA = "unknown"  # for imported weights
PORTRAITS_DATA = "PORTRAITS"
