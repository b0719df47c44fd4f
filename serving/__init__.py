"""Apply a trained detector to single files: command line, HTTP server and model registry."""
