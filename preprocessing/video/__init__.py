"""Video files -> metadata and RGB frames."""
