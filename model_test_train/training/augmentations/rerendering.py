"""Rerendering: a mouth, the eyes or the inner face made anew, a stand-in for reenactment (Face2Face, NeuralTextures).

Such fakes have no visible boundary and the right colours. What gives them away is that the region is a little misshapen and
has passed through a renderer: its fine grain is gone, or looks otherwise than around it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from numpy.random import Generator

from model_test_train.training.augmentations.effects import KERNELS, recoloured, resampled, sharpened
from model_test_train.training.augmentations.forgery import (
    SOFT,
    Forged,
    Forgery,
    Picture,
    blended,
    pixel,
    region_mask,
    smooth_field,
    warped,
)
from pipeline.params import setting

RENDERED = ("mouth", "mouth", "mouth", "lower face", "eyes", "inner face")
RATIOS = (0.75, 1.0, 1.0, 1.0)  # how much of the new content is seen
ELASTIC = 0.01  # bending of the mask's outline, in sides of the crop
LARGEST_BILATERAL = 11  # px: the time it takes grows with the square
LEAST_LOST = 0.4  # of what the bottleneck may lose at most: less is not seen


@dataclass(frozen=True)
class Rerender(Forgery):
    """Each of the settings may be 0: that ingredient is then left out."""

    warp: float = setting("how far the region's parts move, in sides of the crop, standard deviation", low=0, high=0.1)
    resolution: float = setting("of the sides, how much the bottleneck loses at most", low=0, high=0.9)
    denoise: float = setting("probability of a filter in place of the bottleneck", low=0, high=1)
    sharpness: float = setting("of what a small blur takes away, how much is added at most, half of the time", low=0, high=3)
    colour: float = setting("shift of each channel, relative, at most", low=0, high=1)

    DEFAULTS: ClassVar[dict[str, float]] = {"warp": 0.01, "resolution": 0.65, "denoise": 0.5, "sharpness": 1.0, "colour": 0.015}

    def forge(self, crop: Picture, rng: Generator) -> Forged:
        height, width = crop.shape[:2]
        content = warped(crop, smooth_field(height, width, self.warp, (4, 8), rng))
        content = self._rendered(content, rng)
        amount, deviation = self.sharpness * rng.random(), rng.uniform(0.7, 2) * pixel(crop)
        if rng.random() < 0.5:
            content = sharpened(content, amount, deviation)
        content = recoloured(content, np.eye(3), 255 * self.colour * rng.uniform(-1, 1, 3))
        mask = region_mask(crop.shape, str(rng.choice(RENDERED)), ELASTIC, SOFT, rng)
        return blended(crop, content, np.float32(rng.choice(RATIOS)) * mask)

    def _rendered(self, content: Picture, rng: Generator) -> Picture:
        """Through a filter, or a bottleneck."""
        if rng.random() < self.denoise:
            return FILTERS[rng.integers(len(FILTERS))](content, rng)
        lost, (there, back) = self.resolution * rng.uniform(LEAST_LOST, 1), rng.choice(KERNELS, 2).tolist()
        return resampled(content, 1 - lost, there, back)


def _bilateral(content: Picture, rng: Generator) -> Picture:
    diameter = min(LARGEST_BILATERAL, _odd(7 * pixel(content)))
    return cv2.bilateralFilter(content, diameter, rng.uniform(25, 70), rng.uniform(2, 4) * pixel(content))


def _median(content: Picture, rng: Generator) -> Picture:
    return cv2.medianBlur(content, _odd(rng.uniform(2, 6) * pixel(content)))


def _gaussian(content: Picture, rng: Generator) -> Picture:
    return cv2.GaussianBlur(content, (0, 0), rng.uniform(0.8, 2) * pixel(content))


def _odd(size: float) -> int:
    """The odd number nearest to it, 3 at least."""
    return max(3, 2 * int(size / 2) + 1)


FILTERS: tuple[Callable[[Picture, Generator], Picture], ...] = (_bilateral, _median, _gaussian)
