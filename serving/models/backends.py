"""The names of the runtimes that can run a detector's networks; importing them loads neither."""

BACKENDS = (TORCH, ONNXRUNTIME) = ("torch", "onnxruntime")
