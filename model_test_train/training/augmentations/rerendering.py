"""Rerendering: regenerate the mouth, the eyes or the inner face, as a proxy for reenactment (Face2Face, NeuralTextures).

Such fakes have no visible boundary and consistent colours. They are detectable because the region is slightly distorted and
passed through a renderer, so its noise is missing or differs from its surroundings.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from numpy.random import Generator

from explain_deepfakes.model_test_train.training.augmentations.effects import KERNELS, resample, sharpen, transform_colours
from explain_deepfakes.model_test_train.training.augmentations.forgery import (
    SOFT_EDGE,
    ForgedPair,
    Forgery,
    Picture,
    blend,
    detail_scale,
    region_mask,
    smooth_field,
    warp,
)
from explain_deepfakes.pipeline.params import setting

RENDERED = ("mouth", "mouth", "mouth", "lower face", "eyes", "inner face")
RATIOS = (0.75, 1.0, 1.0, 1.0)  # opacity of the new content
ELASTIC = 0.01  # distortion of the mask's outline, in sides of the crop
MAX_BILATERAL = 11  # px; its run time grows with the square
MIN_LOSS = 0.4  # share of the largest loss of the bottleneck: less is not visible


@dataclass(frozen=True)
class Rerender(Forgery):
    """A setting of 0 disables its step."""

    warp: float = setting("standard deviation of the distortion, in sides of the crop", low=0, high=0.1)
    resolution: float = setting("largest share of the side lengths lost in the bottleneck", low=0, high=0.9)
    denoise: float = setting("probability of a filter instead of the bottleneck", low=0, high=1)
    sharpness: float = setting(
        "largest share of the detail removed by a small blur that is added in half of the cases", low=0, high=3
    )
    colour: float = setting("largest relative shift of each channel", low=0, high=1)

    DEFAULTS: ClassVar[dict[str, float]] = {"warp": 0.01, "resolution": 0.65, "denoise": 0.5, "sharpness": 1.0, "colour": 0.015}

    def forge(self, crop: Picture, rng: Generator) -> ForgedPair:
        height, width = crop.shape[:2]
        content = warp(crop, smooth_field(height, width, self.warp, (4, 8), rng))
        content = self._render(content, rng)
        amount, deviation = self.sharpness * rng.random(), rng.uniform(0.7, 2) * detail_scale(crop)
        if rng.random() < 0.5:
            content = sharpen(content, amount, deviation)
        content = transform_colours(content, np.eye(3), 255 * self.colour * rng.uniform(-1, 1, 3))
        mask = region_mask(crop.shape, str(rng.choice(RENDERED)), ELASTIC, SOFT_EDGE, rng)
        return blend(crop, content, np.float32(rng.choice(RATIOS)) * mask)

    def _render(self, content: Picture, rng: Generator) -> Picture:
        """Pass the content through a filter or a bottleneck."""
        if rng.random() < self.denoise:
            return FILTERS[rng.integers(len(FILTERS))](content, rng)
        loss, (kernel, kernel_back) = self.resolution * rng.uniform(MIN_LOSS, 1), rng.choice(KERNELS, 2).tolist()
        return resample(content, 1 - loss, kernel, kernel_back)


def _bilateral(content: Picture, rng: Generator) -> Picture:
    diameter = min(MAX_BILATERAL, _odd(7 * detail_scale(content)))
    return cv2.bilateralFilter(content, diameter, rng.uniform(25, 70), rng.uniform(2, 4) * detail_scale(content))


def _median(content: Picture, rng: Generator) -> Picture:
    return cv2.medianBlur(content, _odd(rng.uniform(2, 6) * detail_scale(content)))


def _gaussian(content: Picture, rng: Generator) -> Picture:
    return cv2.GaussianBlur(content, (0, 0), rng.uniform(0.8, 2) * detail_scale(content))


def _odd(size: float) -> int:
    """The nearest odd number, at least 3."""
    return max(3, 2 * int(size / 2) + 1)


FILTERS: tuple[Callable[[Picture, Generator], Picture], ...] = (_bilateral, _median, _gaussian)
