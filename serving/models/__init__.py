"""Checkpoints as the server finds them: the default one, and deployed versions."""
