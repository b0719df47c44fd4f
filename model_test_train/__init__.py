"""Crops into a trained network; a network and crops into verdicts with their statistics."""
