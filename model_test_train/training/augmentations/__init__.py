"""Augmentations of training crops, so that the network learns faces rather than properties of files.

The section `augmentation` of a network's YAML lists them by name, each with its probability `p`. Each draws from its own random
generator, which depends only on the seed, the epoch, the crops' position and the augmentation's name. So a training run is the
same for any number of workers, and adding or removing an augmentation does not change what the others draw.
"""
