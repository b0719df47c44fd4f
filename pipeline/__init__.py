"""Infrastructure shared by all packages: settings, the video index, atomic outputs, progress, seeds and provenance."""
