"""What training crops go through before the network sees them, so that it learns faces and not files.

A network's YAML names them in its section `augmentation`, one a line, each with its probability `p`. Every one draws from a
generator of its own, which depends on the seed, the epoch and the place of the crops alone: so a training is the same for any
number of workers, and one line more or less changes nothing of what the others do.
"""
