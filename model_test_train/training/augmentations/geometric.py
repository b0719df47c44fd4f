"""Moves: where in the picture things are. A crop's mask moves with it, and a pair of crops alike."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from model_test_train.training.augmentations.chance import Chance
from pipeline.params import setting

Picture = np.ndarray  # (height, width) or (height, width, 3)


@dataclass(frozen=True)
class Geometric(Chance, ABC):
    @abstractmethod
    def draw(self, rng: Generator) -> Callable[[Picture], Picture]:
        """How pictures are to be moved this once."""


@dataclass(frozen=True)
class Flip(Geometric):
    """Left and right change places."""

    def draw(self, rng: Generator) -> Callable[[Picture], Picture]:
        return lambda picture: cv2.flip(picture, 1)


@dataclass(frozen=True)
class Part(Geometric):
    """Only a part of the crop is seen: the face is shifted, and larger."""

    most: float = setting("of the crop's sides that is left out", low=0, high=0.9)

    def draw(self, rng: Generator) -> Callable[[Picture], Picture]:
        share, left, top = 1 - self.most * rng.random(), rng.random(), rng.random()
        return lambda picture: cut(picture, share, left, top)


@dataclass(frozen=True)
class Rotate(Geometric):
    """Around the middle; the edge's pixels are repeated where nothing is."""

    degrees: float = setting("at most, to either side", low=0, high=180)

    def draw(self, rng: Generator) -> Callable[[Picture], Picture]:
        angle = self.degrees * rng.uniform(-1, 1)

        def rotated(picture: Picture) -> Picture:
            height, width = picture.shape[:2]
            turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
            return cv2.warpAffine(picture, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

        return rotated


def cut(crop: Picture, share: float, left: float, top: float) -> Picture:
    """A part of the crop, `share` of its sides long; `left` and `top` in [0, 1] say where it lies."""
    height, width = crop.shape[:2]
    part_height, part_width = max(1, round(height * share)), max(1, round(width * share))
    y, x = round(top * (height - part_height)), round(left * (width - part_width))
    return crop[y : y + part_height, x : x + part_width]


GEOMETRIC: dict[str, type[Geometric]] = {"flip": Flip, "part": Part, "rotate": Rotate}
