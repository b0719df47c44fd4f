"""Corruptions of face crops, each in five severities from slight to severe.

Pictures (height, width, 3) uint8 in and out. All randomness comes from the generator that is passed in.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from numpy.random import Generator
from torch import Tensor

from explain_deepfakes.model_test_train.networks.input_contract import Image
from explain_deepfakes.model_test_train.training.augmentations.effects import (
    add_noise,
    adjust_brightness,
    adjust_contrast,
    blur,
    compress_jpeg,
    downscale,
)

Effect = Callable[[Tensor, float, Generator], Tensor]


@dataclass(frozen=True)
class Corruption:
    steps: tuple[float, ...]  # strength at each severity
    unit: str  # what the strength means
    effect: Effect

    def apply(self, picture: Image, step: float, rng: Generator) -> Image:
        corrupted = self.effect(torch.from_numpy(picture).permute(2, 0, 1)[None], step, rng)
        return corrupted[0].permute(1, 2, 0).contiguous().numpy()


def _salt_and_pepper(pictures: Tensor, share: float, rng: Generator) -> Tensor:
    random = torch.from_numpy(rng.random(pictures.shape[2:]))
    return pictures.masked_fill(random < share / 2, 0).masked_fill(random > 1 - share / 2, 255)


def _factor_or_inverse(effect: Callable[[Tensor, float], Tensor]) -> Effect:
    """Apply the effect with the factor or its inverse, at random."""
    return lambda pictures, factor, rng: effect(pictures, factor if rng.random() < 0.5 else 1 / factor)


FACTORS = (0.9, 0.8, 0.65, 0.5, 0.35)
CORRUPTIONS = {
    "gaussian_noise": Corruption((2, 5, 10, 20, 40), "standard deviation, grey levels", add_noise),
    "salt_and_pepper": Corruption((0.002, 0.005, 0.01, 0.03, 0.1), "share of the pixels", _salt_and_pepper),
    "blur": Corruption((0.4, 0.7, 1.0, 2.0, 4.0), "standard deviation, px of the crop", lambda p, step, _: blur(p, step)),
    "jpeg": Corruption((95, 80, 60, 40, 20), "quality", lambda p, step, _: compress_jpeg(p, int(step))),
    "brightness": Corruption(FACTORS, "factor or its inverse", _factor_or_inverse(adjust_brightness)),
    "contrast": Corruption(FACTORS, "factor or its inverse, around the mean", _factor_or_inverse(adjust_contrast)),
    "resize": Corruption((0.9, 0.75, 0.5, 0.35, 0.25), "scale of the sides", lambda p, step, _: downscale(p, step)),
}
