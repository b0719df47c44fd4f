"""Random generators of augmentations."""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from explain_deepfakes.pipeline.params import setting

DrawKey = tuple[int, ...]  # all that random draws depend on: seed, epoch, position


@dataclass(frozen=True)
class RandomEffect:
    """What is applied with probability `p`."""

    p: float = setting("probability", low=0, high=1)

    def generator_if_applied(self, name: str, key: DrawKey) -> Generator | None:
        """The generator to draw from, or None if the effect is not applied for this key.

        It depends on the effect's name in the YAML, so that other effects do not influence it.
        """
        rng = np.random.default_rng([*key, zlib.crc32(name.encode())])
        return rng if rng.random() < self.p else None
