"""Settings of the model registry."""

MARGIN = 0.02  # loss of video-level AUC that a promotion must rule out
