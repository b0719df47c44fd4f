"""Five facial landmarks to canonical face coordinates, called the face chart.

The origin of the chart lies between the eyes; x points to the right of the picture, y down; one unit is the distance
between the eyes. A smooth displacement removes the proportions of the individual face, so the nose and the corners of
the mouth have the same coordinates for every face.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from explain_deepfakes.preprocessing.portrait_corpus.grids import Array

EYE_X, NOSE_Y, MOUTH_X, MOUTH_Y = 0.5, 0.58, 0.44, 1.05
LANDMARKS = np.array([[-EYE_X, 0], [EYE_X, 0], [0, NOSE_Y], [-MOUTH_X, MOUTH_Y], [MOUTH_X, MOUTH_Y]], np.float32)
FACE_TOP, FACE_BOTTOM, FACE_SIDE = -1.2, 1.8, 1.15  # extent of a detector's face box in the chart
RBF_WIDTH = 0.7
MIN_SINE = 0.75  # of the angle between the eye line and the middle line of the face
MAX_TURN = 0.32  # greatest sideways offset of the nose


@dataclass(frozen=True)
class RbfDisplacement:
    """A smooth displacement that interpolates given values with Gaussian radial basis functions."""

    centres: Array
    weights: Array

    @classmethod
    def between(cls, points: Array, displacements: Array) -> "RbfDisplacement":
        weights = np.linalg.solve(_rbf(points, points).astype(np.float64), displacements.astype(np.float64))
        return cls(points, weights.astype(np.float32))

    def __call__(self, points: Array) -> Array:
        return _rbf(points, self.centres) @ self.weights


def _rbf(points: Array, centres: Array) -> Array:
    squares = ((points[:, None] - centres[None]) ** 2).sum(-1)
    return np.exp(squares / np.float32(-2 * RBF_WIDTH**2))


@dataclass(frozen=True)
class FaceAlignment:
    """Maps between pixels of a picture and the face chart."""

    points: NDArray  # (5, 2), pixels

    @classmethod
    def of(cls, landmarks: Sequence[float]) -> "FaceAlignment":
        return cls(np.array(landmarks, np.float32).reshape(5, 2))

    def scaled(self, scale: float) -> "FaceAlignment":
        """The alignment in the picture scaled by a factor; pixel centres have integer coordinates."""
        return FaceAlignment(((self.points + 0.5) * scale - 0.5).astype(np.float32))

    @cached_property
    def origin(self) -> Array:
        return self.points[:2].mean(0)

    @cached_property
    def matrix(self) -> Array:
        """Pixels per unit of the chart: x in the first column, y in the second."""
        across = self.points[1] - self.points[0]
        down = (self.points[3:].mean(0) - self.origin) / MOUTH_Y
        return np.stack([across, down], 1)

    @cached_property
    def unit_px(self) -> float:
        """Distance between the eyes in pixels."""
        return float(np.hypot(*self.matrix[:, 0]))

    @cached_property
    def turn(self) -> float:
        """How far the face is turned sideways: x of the nose, which is 0 for a frontal face."""
        return float(self._affine(self.points)[2, 0])

    def is_usable(self) -> bool:
        lengths = np.hypot(*self.matrix)
        sine = float(np.linalg.det(self.matrix)) / float(lengths.prod()) if lengths.all() else 0.0
        return sine > MIN_SINE and abs(self.turn) < MAX_TURN and 0.6 < lengths[1] / lengths[0] < 1.7

    def to_chart(self, points: Array) -> Array:
        straight = self._affine(points)
        return straight + self._displacements[0](straight)

    def to_picture(self, chart: Array) -> Array:
        return ((chart + self._displacements[1](chart)) @ self.matrix.T + self.origin).astype(np.float32)

    def _affine(self, points: Array) -> Array:
        """Chart coordinates before the displacement."""
        return (points - self.origin) @ np.linalg.inv(self.matrix).T.astype(np.float32)

    @cached_property
    def _displacements(self) -> tuple[RbfDisplacement, RbfDisplacement]:
        straight = self._affine(self.points)
        return RbfDisplacement.between(straight, LANDMARKS - straight), RbfDisplacement.between(LANDMARKS, straight - LANDMARKS)
