"""Ensembles: fit the weights with which several trained networks are fused."""
