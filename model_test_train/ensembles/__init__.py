"""Several trained networks -> weights with which they score together."""
