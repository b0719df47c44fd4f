"""A detected face, and how boxes relate to one another."""

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import cycle

Box = tuple[float, float, float, float]  # x0, y0, x1, y1


@dataclass(frozen=True, slots=True)
class Face:
    box: Box  # may reach over the picture's edge
    score: float
    # x, y of the eyes (left of the picture first), nose and mouth corners, or none; packed, for of an hour they are many
    landmarks: "array[float]" = field(default_factory=lambda: array("d"))

    def mapped(self, x: Callable[[float], float], y: Callable[[float], float]) -> "Face":
        """The face where these functions of its coordinates put it."""
        x0, y0, x1, y1 = self.box
        landmarks = [move(place) for move, place in zip(cycle((x, y)), self.landmarks, strict=False)]  # of a list, no larger
        return Face((x(x0), y(y0), x(x1), y(y1)), self.score, array("d", landmarks))

    def points(self) -> list[tuple[float, float]]:
        """The landmarks, as pairs."""
        return list(zip(self.landmarks[::2], self.landmarks[1::2], strict=True))


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    shared = _shared(one, other)
    return shared / (_area(one) + _area(other) - shared)


def share_within(one: Box, other: Box) -> float:
    """How much of the smaller box lies in the larger one."""
    return _shared(one, other) / min(_area(one), _area(other))


def each_once(faces: Iterable[Face], likeness: Callable[[Box, Box], float], most: float) -> list[Face]:
    """The surest first; one that is more like a surer one than that is the same."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: (-face.score, face.box)):
        if all(likeness(face.box, other.box) <= most for other in kept):
            kept.append(face)
    return kept


def _shared(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
