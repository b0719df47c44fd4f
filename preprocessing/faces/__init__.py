"""Frames -> the faces in them, and which faces belong to one person."""
