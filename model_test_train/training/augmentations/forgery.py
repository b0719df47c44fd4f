"""Shared code of forgeries: new content is blended into a region of a real face.

Crops carry no landmarks. But they are square boxes of the face detector with a margin, so facial features lie at the positions
of `REGIONS` within a few percent, which is less than the random jitter of the outlines.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import cv2
import numpy as np
from numpy.random import Generator

from explain_deepfakes.model_test_train.training.augmentations.chance import RandomEffect

Picture = np.ndarray  # (height, width, 3) uint8, a face with some margin around it
VISIBLE_WEIGHT = 0.1  # weight of the new content from which on a pixel counts as changed
JITTER = 0.02  # standard deviation of each point of an outline, in sides of the crop
MAX_ROTATION = 8  # degrees
REFERENCE_SIDE = 256  # px: in larger crops, fine detail is proportionally larger
SOFT_EDGE, HARD_EDGE = (
    (0.012, 0.04),
    (0.001, 0.004),
)  # ranges of the edge blur's deviation, in sides of the crop


class ForgedPair(NamedTuple):
    """A fake and the real face to compare it with, which differ only in the forgery."""

    real: Picture
    fake: Picture
    changed: np.ndarray  # (height, width) bool: pixels of the fake that were changed


@dataclass(frozen=True)
class Forgery(RandomEffect, ABC):
    DEFAULTS: ClassVar[dict[str, float]] = {}  # values of settings that the YAML may omit

    @abstractmethod
    def forge(self, crop: Picture, rng: Generator) -> ForgedPair:
        """Make a fake from a real face."""


def detail_scale(crop: Picture) -> float:
    """Size in px of the finest detail that remains when the crop is resized, so that strengths are comparable between crops."""
    return max(1.0, max(crop.shape) / REFERENCE_SIDE)


def blend(real: Picture, content: Picture, weight: np.ndarray) -> ForgedPair:
    """Blend the content over the real face; `weight` (height, width) is the content's opacity."""
    return ForgedPair(real, cv2.blendLinear(content, real, weight, 1 - weight), weight > VISIBLE_WEIGHT)


def region_mask(shape: tuple[int, ...], region: str, elastic: float, edge: tuple[float, float], rng: Generator) -> np.ndarray:
    """Mask of a region of the face, with a distorted outline and a blurred edge: (height, width) from 0 to 1."""
    height, width = shape[:2]
    outline = np.array(REGIONS[region]) + rng.normal(0, JITTER, (len(REGIONS[region]), 2))
    centre, scale = outline.mean(0), rng.uniform(0.85, 1.05)
    rotation = cv2.getRotationMatrix2D((0, 0), rng.uniform(-MAX_ROTATION, MAX_ROTATION), scale)[:, :2]
    corners = ((outline - centre) @ rotation.T + centre) * (width, height)
    hull = cv2.convexHull(corners.round().astype(np.int32))
    mask = cv2.fillConvexPoly(np.zeros((height, width), np.float32), hull, 1.0)
    mask = warp(mask, smooth_field(height, width, elastic, (5, 10), rng), cv2.BORDER_CONSTANT)
    return cv2.GaussianBlur(mask, (0, 0), max(0.3, rng.uniform(*edge) * width))


def smooth_field(height: int, width: int, strength: float, cells: tuple[int, int], rng: Generator) -> np.ndarray:
    """Smooth displacements (height, width, 2) in px: random in the cells of a coarse grid, zero at the border."""
    count = int(rng.integers(*cells))
    coarse = np.zeros((count + 2, count + 2, 2), np.float32)
    coarse[1:-1, 1:-1] = rng.normal(0, strength, (count, count, 2)) * (width, height)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def warp(picture: np.ndarray, field: np.ndarray, border: int = cv2.BORDER_REFLECT) -> np.ndarray:
    """Displace pixels: each is taken from where the field points."""
    rows, columns = np.indices(picture.shape[:2], np.float32)
    return cv2.remap(picture, columns + field[..., 0], rows + field[..., 1], cv2.INTER_LINEAR, borderMode=border)


def _mirror(*half: Sequence[float]) -> list[tuple[float, float]]:
    return [(side, y) for x, y in half for side in dict.fromkeys((x, 1 - x))]


_JAW = _mirror((0.24, 0.42), (0.25, 0.52), (0.27, 0.62), (0.31, 0.72), (0.37, 0.8), (0.44, 0.86), (0.5, 0.875))
_BROWS = _mirror((0.28, 0.36), (0.36, 0.33), (0.44, 0.345))
_FOREHEAD = _mirror((0.31, 0.24), (0.38, 0.18), (0.5, 0.155))
# Outlines (x, y), in sides of the crop.
REGIONS: dict[str, list[tuple[float, float]]] = {
    "face": _JAW + _BROWS,
    "face and forehead": _JAW + _BROWS + _FOREHEAD,
    "inner face": _mirror((0.29, 0.37), (0.36, 0.34), (0.28, 0.5), (0.32, 0.66), (0.38, 0.77), (0.5, 0.8)),
    "lower face": _mirror((0.3, 0.53), (0.44, 0.5), (0.27, 0.62), (0.31, 0.72), (0.37, 0.8), (0.44, 0.86), (0.5, 0.875)),
    "eyes": _mirror((0.25, 0.41), (0.29, 0.35), (0.4, 0.33), (0.26, 0.49), (0.37, 0.51), (0.45, 0.49)),
    "mouth": _mirror((0.34, 0.7), (0.37, 0.65), (0.44, 0.625), (0.37, 0.76), (0.44, 0.795), (0.5, 0.8)),
    "left half": [point for point in _JAW + _BROWS if point[0] <= 0.5] + [(0.5, 0.34)],
    "right half": [point for point in _JAW + _BROWS if point[0] >= 0.5] + [(0.5, 0.34)],
}
