"""Labels and fake probabilities -> figures, how sure they are, and whether two of them differ."""
