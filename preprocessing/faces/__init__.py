"""Face detection and tracking in the frames of a video."""
