"""Settings of metrics."""

CALIBRATION_METHODS = ("temperature", "isotonic", "none")
