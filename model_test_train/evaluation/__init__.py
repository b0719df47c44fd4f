"""Score face crops with a checkpoint or an ensemble, compute test metrics and draw plots."""
