"""Geometric augmentations: they move picture content. A crop's mask is transformed with it, and a pair of crops alike."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from explain_deepfakes.model_test_train.training.augmentations.chance import RandomEffect
from explain_deepfakes.pipeline.params import setting

Picture = np.ndarray  # (height, width) or (height, width, 3)


@dataclass(frozen=True)
class Geometric(RandomEffect, ABC):
    @abstractmethod
    def draw(self, rng: Generator) -> Callable[[Picture], Picture]:
        """Draw a transform, to apply to one or more pictures."""


@dataclass(frozen=True)
class Flip(Geometric):
    """Flip left and right."""

    def draw(self, rng: Generator) -> Callable[[Picture], Picture]:
        return lambda picture: cv2.flip(picture, 1)


@dataclass(frozen=True)
class RandomCrop(Geometric):
    """Keep a part of the crop, so that the face is shifted and larger."""

    most: float = setting("largest share of the crop's sides that is cut off", low=0, high=0.9)

    def draw(self, rng: Generator) -> Callable[[Picture], Picture]:
        share, left, top = 1 - self.most * rng.random(), rng.random(), rng.random()
        return lambda picture: crop_window(picture, share, left, top)


@dataclass(frozen=True)
class Rotate(Geometric):
    """Rotate around the centre; pixels of the edge are repeated where the picture ends."""

    degrees: float = setting("largest angle, in either direction", low=0, high=180)

    def draw(self, rng: Generator) -> Callable[[Picture], Picture]:
        angle = self.degrees * rng.uniform(-1, 1)

        def rotate(picture: Picture) -> Picture:
            height, width = picture.shape[:2]
            matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
            return cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

        return rotate


def crop_window(picture: Picture, share: float, left: float, top: float) -> Picture:
    """Cut out a window whose sides are `share` of the picture's; `left` and `top` in [0, 1] give its position."""
    height, width = picture.shape[:2]
    window_height, window_width = max(1, round(height * share)), max(1, round(width * share))
    y, x = round(top * (height - window_height)), round(left * (width - window_width))
    return picture[y : y + window_height, x : x + window_width]


GEOMETRIC: dict[str, type[Geometric]] = {"flip": Flip, "part": RandomCrop, "rotate": Rotate}
