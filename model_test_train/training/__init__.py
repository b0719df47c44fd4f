"""Crops -> a trained network: data loading, augmentation, losses, the training loop and its logs."""
