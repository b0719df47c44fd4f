"""The section `augmentation` of a network's YAML -> what happens to a group of crops, and to a batch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

from torch import Tensor

from model_test_train.training.augmentations.chance import Key
from model_test_train.training.augmentations.forgery import Forged, Forgery
from model_test_train.training.augmentations.geometric import GEOMETRIC, Geometric, Picture
from model_test_train.training.augmentations.mixing import MIXING, Batch, Mixing
from model_test_train.training.augmentations.photometric import PHOTOMETRIC, Photometric
from model_test_train.training.augmentations.rerendering import Rerender
from model_test_train.training.augmentations.self_blending import SelfBlend
from pipeline.errors import UserError
from pipeline.params import build

FORGERIES: dict[str, type[Forgery]] = {"self_blend": SelfBlend, "rerender": Rerender}
KINDS: dict[str, type[Any]] = {**GEOMETRIC, **PHOTOMETRIC, **MIXING, **FORGERIES}


@dataclass(frozen=True)
class Augmentation:
    """By name, in the order of the YAML."""

    moves: dict[str, Geometric]
    looks: dict[str, Photometric]
    mixes: dict[str, Mixing]
    forgeries: dict[str, Forgery]

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

    def forgery(self, key: Key) -> Callable[[Picture], Forged] | None:
        """How a real face is made a fake, if this once one is: by the first kind that happens."""
        for name, forgery in self.forgeries.items():
            if rng := forgery.happens(name, key):
                return partial(forgery.forge, rng=rng)
        return None


NO_AUGMENTATION = Augmentation({}, {}, {}, {})


def build_augmentation(lines: dict[str, Any]) -> Augmentation:
    if unknown := set(lines) - set(KINDS):
        raise UserError(f"augmentation.{min(unknown)} is not known; there are: {', '.join(KINDS)}")
    made = {name: _built(KINDS[name], settings or {}, f"augmentation.{name}") for name, settings in lines.items()}
    kinds = (GEOMETRIC, PHOTOMETRIC, MIXING, FORGERIES)
    moves, looks, mixes, forgeries = ({name: one for name, one in made.items() if name in kind} for kind in kinds)
    return Augmentation(moves, looks, mixes, forgeries)


def _built(kind: type[Any], settings: dict[str, Any], where: str) -> Any:
    defaults = kind.DEFAULTS if issubclass(kind, Forgery) else {}
    return build(kind, {**defaults, **settings}, where)
