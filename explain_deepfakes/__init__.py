"""Deepfake detection for face videos. The sub-packages are links to the folders of the repository."""
