"""Generates a video corpus with exact manipulation masks from still portraits; see make_portrait_videos."""
