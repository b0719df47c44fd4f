"""The section `augmentation` of a network's YAML -> what happens to a group of crops, and to a batch."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.random import Generator
from torch import Tensor

from model_test_train.augmentations.looks import LOOKS, Look
from model_test_train.augmentations.mixes import MIXES, Batch, Mix
from model_test_train.augmentations.moves import MOVES, Move, Picture
from model_test_train.augmentations.self_blending import SelfBlend
from pipeline.errors import UserError
from pipeline.params import build

KINDS: dict[str, type[Any]] = {**MOVES, **LOOKS, **MIXES, "self_blend": SelfBlend}
Key = tuple[int, ...]  # what decides all that is drawn: seed, epoch, place


@dataclass(frozen=True)
class Augmentation:
    """By name, in the order of the YAML."""

    moves: dict[str, Move]
    looks: dict[str, Look]
    mixes: dict[str, Mix]
    self_blend: SelfBlend | None

    def move(self, key: Key) -> Callable[[Picture], Picture]:
        """How the crops of a group, and their masks, are moved this once."""
        drawn = [move.draw(rng) for name, move in self.moves.items() if (rng := happens(move.p, name, key))]
        return lambda picture: reduce(lambda moved, move: move(moved), drawn, picture)

    def look(self, pictures: Tensor, key: Key) -> Tensor:
        """Pictures (g, 3, h, w) uint8 of a group."""
        for name, look in self.looks.items():
            if rng := happens(look.p, name, key):
                pictures = look.apply(pictures, rng)
        return pictures

    def mix(self, batch: Batch, key: Key) -> Batch:
        for name, mix in self.mixes.items():
            if rng := happens(mix.p, name, key):
                batch = mix.apply(batch, rng)
        return batch

    def forgery(self, key: Key) -> Callable[[Picture], tuple[Picture, np.ndarray]] | None:
        """How a real face is made a fake, if this once one is."""
        rng = happens(self.self_blend.p, "self_blend", key) if self.self_blend else None
        return (lambda crop: self.self_blend.forge(crop, rng)) if self.self_blend and rng else None  # type: ignore[union-attr]


NO_AUGMENTATION = Augmentation({}, {}, {}, None)


def build_augmentation(lines: dict[str, Any]) -> Augmentation:
    if unknown := set(lines) - set(KINDS):
        raise UserError(f"augmentation.{min(unknown)} is not known; there are: {', '.join(KINDS)}")
    made = {name: build(KINDS[name], settings or {}, f"augmentation.{name}") for name, settings in lines.items()}
    moves, looks, mixes = ({name: one for name, one in made.items() if name in kind} for kind in (MOVES, LOOKS, MIXES))
    return Augmentation(moves, looks, mixes, made.get("self_blend"))


def happens(p: float, name: str, key: Key) -> Generator | None:
    """What to draw from, if it does."""
    rng = np.random.default_rng([*key, zlib.crc32(name.encode())])
    return rng if rng.random() < p else None
