"""Training of a network on crops: data loading, augmentation, losses, the training loop and its logs."""
