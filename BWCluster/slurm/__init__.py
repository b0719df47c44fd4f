"""SLURM: the cluster configuration and job scripts."""
