"""Checkpoints for serving: the default one, deployed versions and runtime backends."""
