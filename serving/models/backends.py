"""Names of the runtimes that can run a detector's networks; importing this module loads none of them."""

BACKENDS = (TORCH, ONNXRUNTIME) = ("torch", "onnxruntime")
