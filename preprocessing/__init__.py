"""Videos into an index of them, into face boxes, into face crops."""
