"""The section `augmentation` of a network's YAML -> what happens to a group of crops, and to a batch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np
from torch import Tensor

from model_test_train.augmentations.chance import Key
from model_test_train.augmentations.looks import LOOKS, Look
from model_test_train.augmentations.mixes import MIXES, Batch, Mix
from model_test_train.augmentations.moves import MOVES, Move, Picture
from model_test_train.augmentations.self_blending import SelfBlend
from pipeline.errors import UserError
from pipeline.params import build

KINDS: dict[str, type[Any]] = {**MOVES, **LOOKS, **MIXES, "self_blend": SelfBlend}


@dataclass(frozen=True)
class Augmentation:
    """By name, in the order of the YAML."""

    moves: dict[str, Move]
    looks: dict[str, Look]
    mixes: dict[str, Mix]
    self_blend: SelfBlend | None

    def move(self, key: Key) -> Callable[[Picture], Picture]:
        """How the crops of a group, and their masks, are moved this once."""
        drawn = [move.draw(rng) for name, move in self.moves.items() if (rng := move.happens(name, key))]
        return lambda picture: reduce(lambda moved, move: move(moved), drawn, picture)

    def look(self, pictures: Tensor, key: Key) -> Tensor:
        """Pictures (g, 3, h, w) uint8 of a group."""
        for name, look in self.looks.items():
            if rng := look.happens(name, key):
                pictures = look.apply(pictures, rng)
        return pictures

    def mix(self, batch: Batch, key: Key) -> Batch:
        for name, mix in self.mixes.items():
            if rng := mix.happens(name, key):
                batch = mix.apply(batch, rng)
        return batch

    def forgery(self, key: Key) -> Callable[[Picture], tuple[Picture, np.ndarray]] | None:
        """How a real face is made a fake, if this once one is."""
        if self.self_blend and (rng := self.self_blend.happens("self_blend", key)):
            return partial(self.self_blend.forge, rng=rng)
        return None


NO_AUGMENTATION = Augmentation({}, {}, {}, None)


def build_augmentation(lines: dict[str, Any]) -> Augmentation:
    if unknown := set(lines) - set(KINDS):
        raise UserError(f"augmentation.{min(unknown)} is not known; there are: {', '.join(KINDS)}")
    made = {name: build(KINDS[name], settings or {}, f"augmentation.{name}") for name, settings in lines.items()}
    moves, looks, mixes = ({name: one for name, one in made.items() if name in kind} for kind in (MOVES, LOOKS, MIXES))
    return Augmentation(moves, looks, mixes, made.get("self_blend"))
