"""What every room needs and none owns: settings, the index of videos, atomic outputs, progress, seeds, provenance."""
