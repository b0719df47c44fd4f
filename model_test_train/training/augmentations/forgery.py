"""What forgeries have in common: a face, a region of it, and another content that is blended into that region.

Crops carry no landmarks. But they are the face detector's boxes with a margin, made square, so that the parts of a face lie
where `REGIONS` says, give or take a few percent; the jitter of the outlines is larger than that.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import cv2
import numpy as np
from numpy.random import Generator

from model_test_train.training.augmentations.chance import Chance

Picture = np.ndarray  # (height, width, 3) uint8, a face with some margin around it
VISIBLE = 0.1  # of the content, from where a pixel counts as changed
JITTER = 0.02  # of each point of an outline, in sides of the crop: standard deviation
MOST_TURNED = 8  # degrees
FINE = 256  # px: in larger crops, fine detail is as many times larger
SOFT, HARD = (0.012, 0.04), (0.001, 0.004)  # edges: deviations of the blur, in sides of the crop


class Forged(NamedTuple):
    """A fake, and the real face to compare it with: they differ in nothing but the forgery."""

    real: Picture
    fake: Picture
    changed: np.ndarray  # (height, width) bool: which pixels of the fake


@dataclass(frozen=True)
class Forgery(Chance, ABC):
    DEFAULTS: ClassVar[dict[str, float]] = {}  # of the settings that a YAML may leave out

    @abstractmethod
    def forge(self, crop: Picture, rng: Generator) -> Forged:
        """A fake made of a real face."""


def pixel(crop: Picture) -> float:
    """Of the finest detail that is left when the crop is made the network's size: so strengths mean the same for any crop."""
    return max(1.0, max(crop.shape) / FINE)


def blended(real: Picture, content: Picture, weight: np.ndarray) -> Forged:
    """`weight` (height, width) says how much of the content is seen."""
    return Forged(real, cv2.blendLinear(content, real, weight, 1 - weight), weight > VISIBLE)


def region_mask(shape: tuple[int, ...], region: str, elastic: float, edge: tuple[float, float], rng: Generator) -> np.ndarray:
    """A region of the face, its outline bent and its edge blurred: (height, width) from 0 to 1."""
    height, width = shape[:2]
    outline = np.array(REGIONS[region]) + rng.normal(0, JITTER, (len(REGIONS[region]), 2))
    middle, scale = outline.mean(0), rng.uniform(0.85, 1.05)
    turn = cv2.getRotationMatrix2D((0, 0), rng.uniform(-MOST_TURNED, MOST_TURNED), scale)[:, :2]
    corners = ((outline - middle) @ turn.T + middle) * (width, height)
    hull = cv2.convexHull(corners.round().astype(np.int32))
    mask = cv2.fillConvexPoly(np.zeros((height, width), np.float32), hull, 1.0)
    mask = warped(mask, smooth_field(height, width, elastic, (5, 10), rng), cv2.BORDER_CONSTANT)
    return cv2.GaussianBlur(mask, (0, 0), max(0.3, rng.uniform(*edge) * width))


def smooth_field(height: int, width: int, strength: float, cells: tuple[int, int], rng: Generator) -> np.ndarray:
    """Displacements (height, width, 2), px, that change smoothly: random in the cells of a coarse grid, none at the border."""
    count = int(rng.integers(*cells))
    coarse = np.zeros((count + 2, count + 2, 2), np.float32)
    coarse[1:-1, 1:-1] = rng.normal(0, strength, (count, count, 2)) * (width, height)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def warped(picture: np.ndarray, field: np.ndarray, border: int = cv2.BORDER_REFLECT) -> np.ndarray:
    """Each pixel comes from where the field points."""
    rows, columns = np.indices(picture.shape[:2], np.float32)
    return cv2.remap(picture, columns + field[..., 0], rows + field[..., 1], cv2.INTER_LINEAR, borderMode=border)


def _mirrored(*half: Sequence[float]) -> list[tuple[float, float]]:
    return [(side, y) for x, y in half for side in dict.fromkeys((x, 1 - x))]


_JAW = _mirrored((0.24, 0.42), (0.25, 0.52), (0.27, 0.62), (0.31, 0.72), (0.37, 0.8), (0.44, 0.86), (0.5, 0.875))
_BROWS = _mirrored((0.28, 0.36), (0.36, 0.33), (0.44, 0.345))
_FOREHEAD = _mirrored((0.31, 0.24), (0.38, 0.18), (0.5, 0.155))
# Outlines (x, y), in sides of the crop.
REGIONS: dict[str, list[tuple[float, float]]] = {
    "face": _JAW + _BROWS,
    "face and forehead": _JAW + _BROWS + _FOREHEAD,
    "inner face": _mirrored((0.29, 0.37), (0.36, 0.34), (0.28, 0.5), (0.32, 0.66), (0.38, 0.77), (0.5, 0.8)),
    "lower face": _mirrored((0.3, 0.53), (0.44, 0.5), (0.27, 0.62), (0.31, 0.72), (0.37, 0.8), (0.44, 0.86), (0.5, 0.875)),
    "eyes": _mirrored((0.25, 0.41), (0.29, 0.35), (0.4, 0.33), (0.26, 0.49), (0.37, 0.51), (0.45, 0.49)),
    "mouth": _mirrored((0.34, 0.7), (0.37, 0.65), (0.44, 0.625), (0.37, 0.76), (0.44, 0.795), (0.5, 0.8)),
    "left half": [point for point in _JAW + _BROWS if point[0] <= 0.5] + [(0.5, 0.34)],
    "right half": [point for point in _JAW + _BROWS if point[0] >= 0.5] + [(0.5, 0.34)],
}
