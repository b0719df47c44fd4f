"""What a face crop may have gone through before it is judged, each in five steps from slight to severe.

Pictures (height, width, 3) uint8 in and out. What is drawn at random depends on the generator alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from model_test_train.training.augmentations.effects import blurred, brighter, coarser, compressed, contrasted, noisy

Picture = np.ndarray
Effect = Callable[[Tensor, float, Generator], Tensor]


@dataclass(frozen=True)
class Corruption:
    steps: tuple[float, ...]  # one a severity
    words: str  # what the step says
    effect: Effect

    def apply(self, picture: Picture, step: float, rng: Generator) -> Picture:
        changed = self.effect(torch.from_numpy(picture).permute(2, 0, 1)[None], step, rng)
        return changed[0].permute(1, 2, 0).contiguous().numpy()


def _salt_and_pepper(pictures: Tensor, share: float, rng: Generator) -> Tensor:
    drawn = torch.from_numpy(rng.random(pictures.shape[2:]))
    return pictures.masked_fill(drawn < share / 2, 0).masked_fill(drawn > 1 - share / 2, 255)


def _either_way(effect: Callable[[Tensor, float], Tensor]) -> Effect:
    """By the factor, or by one over it."""
    return lambda pictures, factor, rng: effect(pictures, factor if rng.random() < 0.5 else 1 / factor)


FACTORS = (0.9, 0.8, 0.65, 0.5, 0.35)
CORRUPTIONS = {
    "gaussian_noise": Corruption((2, 5, 10, 20, 40), "standard deviation, grey levels", noisy),
    "salt_and_pepper": Corruption((0.002, 0.005, 0.01, 0.03, 0.1), "share of the pixels", _salt_and_pepper),
    "blur": Corruption((0.4, 0.7, 1.0, 2.0, 4.0), "standard deviation, px of the crop", lambda p, step, _: blurred(p, step)),
    "jpeg": Corruption((95, 80, 60, 40, 20), "quality", lambda p, step, _: compressed(p, int(step))),
    "brightness": Corruption(FACTORS, "factor, or one over it", _either_way(brighter)),
    "contrast": Corruption(FACTORS, "factor around the mean, or one over it", _either_way(contrasted)),
    "resize": Corruption((0.9, 0.75, 0.5, 0.35, 0.25), "share of the sides, and back", lambda p, step, _: coarser(p, step)),
}
