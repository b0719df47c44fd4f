"""What the explain commands read: the samples and the results of the stage test."""
