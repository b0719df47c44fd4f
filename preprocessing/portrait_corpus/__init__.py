"""A video corpus with true masks out of still portraits; see make_portrait_videos."""
