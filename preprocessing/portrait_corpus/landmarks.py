"""Five landmarks of a face -> coordinates on the face that are the same for everybody.

The face's chart has its origin between the eyes, x to the right of the picture and y down; one unit is the distance of
the eyes. Each face's own proportions are bent away, so that nose and mouth corners lie at the same place for all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from preprocessing.portrait_corpus.grids import Array

EYE_X, NOSE_Y, MOUTH_X, MOUTH_Y = 0.5, 0.58, 0.44, 1.05
LANDMARKS = np.array([[-EYE_X, 0], [EYE_X, 0], [0, NOSE_Y], [-MOUTH_X, MOUTH_Y], [MOUTH_X, MOUTH_Y]], np.float32)
FACE_TOP, FACE_BOTTOM, FACE_SIDE = -1.2, 1.8, 1.15  # what of the chart a detector would call the face
BEND_WIDTH = 0.7
LEAST_SINE = 0.75  # of the angle between the line of the eyes and the face's middle line
MOST_TURNED = 0.32  # sideways offset of the nose


@dataclass(frozen=True)
class Bend:
    """A smooth displacement that takes given values at given points."""

    centres: Array
    weights: Array

    @classmethod
    def between(cls, points: Array, displacements: Array) -> "Bend":
        weights = np.linalg.solve(_bump(points, points).astype(np.float64), displacements.astype(np.float64))
        return cls(points, weights.astype(np.float32))

    def __call__(self, points: Array) -> Array:
        return _bump(points, self.centres) @ self.weights


def _bump(points: Array, centres: Array) -> Array:
    squares = ((points[:, None] - centres[None]) ** 2).sum(-1)
    return np.exp(squares / np.float32(-2 * BEND_WIDTH**2))


@dataclass(frozen=True)
class FaceFrame:
    """Where the chart lies in a picture."""

    points: NDArray  # (5, 2), pixels

    @classmethod
    def of(cls, landmarks: Sequence[float]) -> "FaceFrame":
        return cls(np.array(landmarks, np.float32).reshape(5, 2))

    def scaled(self, scale: float) -> "FaceFrame":
        """In the picture resized by that factor; pixels have their middles at whole numbers."""
        return FaceFrame(((self.points + 0.5) * scale - 0.5).astype(np.float32))

    @cached_property
    def origin(self) -> Array:
        return self.points[:2].mean(0)

    @cached_property
    def matrix(self) -> Array:
        """Pixels for each unit of the chart: x in the first column, y in the second."""
        across = self.points[1] - self.points[0]
        down = (self.points[3:].mean(0) - self.origin) / MOUTH_Y
        return np.stack([across, down], 1)

    @cached_property
    def unit_px(self) -> float:
        return float(np.hypot(*self.matrix[:, 0]))

    @cached_property
    def turn(self) -> float:
        """How far the face looks aside: where its nose is, as an upright face would have it at 0."""
        return float(self._unbent(self.points)[2, 0])

    def is_usable(self) -> bool:
        lengths = np.hypot(*self.matrix)
        sine = float(np.linalg.det(self.matrix)) / float(lengths.prod()) if lengths.all() else 0.0
        return sine > LEAST_SINE and abs(self.turn) < MOST_TURNED and 0.6 < lengths[1] / lengths[0] < 1.7

    def to_chart(self, points: Array) -> Array:
        straight = self._unbent(points)
        return straight + self._bends[0](straight)

    def to_picture(self, chart: Array) -> Array:
        return ((chart + self._bends[1](chart)) @ self.matrix.T + self.origin).astype(np.float32)

    def _unbent(self, points: Array) -> Array:
        return (points - self.origin) @ np.linalg.inv(self.matrix).T.astype(np.float32)

    @cached_property
    def _bends(self) -> tuple[Bend, Bend]:
        straight = self._unbent(self.points)
        return Bend.between(straight, LANDMARKS - straight), Bend.between(LANDMARKS, straight - LANDMARKS)
