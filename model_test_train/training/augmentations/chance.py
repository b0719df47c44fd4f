"""Whether an augmentation happens this once, and what it draws from if it does."""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from pipeline.params import setting

Key = tuple[int, ...]  # what decides all that is drawn: seed, epoch, place


@dataclass(frozen=True)
class Chance:
    p: float = setting("probability", low=0, high=1)

    def happens(self, name: str, key: Key) -> Generator | None:
        """By its name in the YAML, so that a line more or less there changes nothing of what the others draw."""
        rng = np.random.default_rng([*key, zlib.crc32(name.encode())])
        return rng if rng.random() < self.p else None
