"""A detected face, and measures of how much two boxes overlap."""

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import cycle

Box = tuple[float, float, float, float]  # x0, y0, x1, y1


@dataclass(frozen=True, slots=True)
class Face:
    box: Box  # may extend beyond the picture
    score: float
    # x, y of the eyes (left in the picture first), nose and mouth corners, or empty; packed, since a long video has many
    landmarks: "array[float]" = field(default_factory=lambda: array("d"))

    def transform(self, x: Callable[[float], float], y: Callable[[float], float]) -> "Face":
        """Return the face with these functions applied to its coordinates."""
        x0, y0, x1, y1 = self.box
        # The array is made from a list, so that it gets no spare capacity.
        landmarks = [function(value) for function, value in zip(cycle((x, y)), self.landmarks, strict=False)]
        return Face((x(x0), y(y0), x(x1), y(y1)), self.score, array("d", landmarks))

    def points(self) -> list[tuple[float, float]]:
        """The landmarks as pairs."""
        return list(zip(self.landmarks[::2], self.landmarks[1::2], strict=True))


def iou(first: Box, second: Box) -> float:
    """Intersection over union."""
    intersection = _intersection(first, second)
    return intersection / (_area(first) + _area(second) - intersection)


def intersection_over_smaller(first: Box, second: Box) -> float:
    """The share of the smaller box that lies in the larger one."""
    return _intersection(first, second) / min(_area(first), _area(second))


def suppress_duplicates(faces: Iterable[Face], similarity: Callable[[Box, Box], float], threshold: float) -> list[Face]:
    """Non-maximum suppression: drop faces whose similarity to a face with a higher score exceeds the threshold."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: (-face.score, face.box)):
        if all(similarity(face.box, better.box) <= threshold for better in kept):
            kept.append(face)
    return kept


def _intersection(first: Box, second: Box) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0.0) * max(height, 0.0)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
