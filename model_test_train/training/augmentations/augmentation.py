"""Build the augmentation that the section `augmentation` of a network's YAML describes, and apply it to groups and batches."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, reduce
from typing import TypeVar

from torch import Tensor

from explain_deepfakes.model_test_train.networks.registry import YamlSection
from explain_deepfakes.model_test_train.training.augmentations.chance import DrawKey, RandomEffect
from explain_deepfakes.model_test_train.training.augmentations.forgery import ForgedPair, Forgery
from explain_deepfakes.model_test_train.training.augmentations.geometric import GEOMETRIC, Geometric, Picture
from explain_deepfakes.model_test_train.training.augmentations.mixing import MIXING, Batch, Mixing
from explain_deepfakes.model_test_train.training.augmentations.photometric import PHOTOMETRIC, Photometric
from explain_deepfakes.model_test_train.training.augmentations.rerendering import Rerender
from explain_deepfakes.model_test_train.training.augmentations.self_blending import SelfBlend
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.params import build_settings

FORGERIES: dict[str, type[Forgery]] = {"self_blend": SelfBlend, "rerender": Rerender}
KINDS: dict[str, type[RandomEffect]] = {**GEOMETRIC, **PHOTOMETRIC, **MIXING, **FORGERIES}
Effect = TypeVar("Effect", bound=RandomEffect)


@dataclass(frozen=True)
class Augmentation:
    """Augmentations of each kind by name, in the order of the YAML."""

    geometric: dict[str, Geometric]
    photometric: dict[str, Photometric]
    mixing: dict[str, Mixing]
    forgeries: dict[str, Forgery]

    def draw_geometric(self, key: DrawKey) -> Callable[[Picture], Picture]:
        """Draw a transform for the crops of a group and their masks."""
        transforms = [
            augmentation.draw(rng)
            for name, augmentation in self.geometric.items()
            if (rng := augmentation.generator_if_applied(name, key))
        ]
        return lambda picture: reduce(lambda transformed, transform: transform(transformed), transforms, picture)

    def apply_photometric(self, pictures: Tensor, key: DrawKey) -> Tensor:
        """Transform the pictures (g, 3, h, w) uint8 of a group alike."""
        for name, augmentation in self.photometric.items():
            if rng := augmentation.generator_if_applied(name, key):
                pictures = augmentation.apply(pictures, rng)
        return pictures

    def apply_mixing(self, batch: Batch, key: DrawKey) -> Batch:
        for name, augmentation in self.mixing.items():
            if rng := augmentation.generator_if_applied(name, key):
                batch = augmentation.apply(batch, rng)
        return batch

    def draw_forgery(self, key: DrawKey) -> Callable[[Picture], ForgedPair] | None:
        """The function that forges a real face, by the first forgery that is applied; None if none is."""
        for name, forgery in self.forgeries.items():
            if rng := forgery.generator_if_applied(name, key):
                return partial(forgery.forge, rng=rng)
        return None


NO_AUGMENTATION = Augmentation({}, {}, {}, {})


def build_augmentation(section: YamlSection) -> Augmentation:
    if unknown := set(section) - set(KINDS):
        raise UserError(f"augmentation.{min(unknown)} is not known; choose from: {', '.join(KINDS)}")
    return Augmentation(
        _build_kind(GEOMETRIC, section),
        _build_kind(PHOTOMETRIC, section),
        _build_kind(MIXING, section),
        _build_kind(FORGERIES, section),
    )


def _build_kind(types: Mapping[str, type[Effect]], section: YamlSection) -> dict[str, Effect]:
    """The section's augmentations of one kind."""
    return {
        name: _build(types[name], options or {}, f"augmentation.{name}") for name, options in section.items() if name in types
    }


def _build(effect: type[Effect], options: YamlSection, location: str) -> Effect:
    defaults = effect.DEFAULTS if issubclass(effect, Forgery) else {}
    return build_settings(effect, {**defaults, **options}, location)
