"""The same rooms, in the same order, for one video at once."""
