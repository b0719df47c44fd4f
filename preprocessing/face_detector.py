"""Face detectors: pictures in, faces out, in pixels of the picture as it was given.

Pictures are RGB, uint8, (height, width, 3), all of one size within a call, and small enough that the smallest face worth
finding is `smallest_px` in them. Calls may come from several threads. A detector is imported when it is made, not before.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle
from typing import Any, Protocol

from preprocessing.video import Picture

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


@dataclass(frozen=True)
class DetectorSettings:
    """All that decides which faces are found and where."""

    detector: str
    min_face_size: int  # px of the video's own pictures
    scale_to: int  # px of the longer side that larger pictures are shrunk to, even if small faces are lost by it
    thresholds: tuple[float, ...]  # of MTCNN's three networks

    def as_facts(self) -> dict[str, Any]:
        return {**asdict(self), "thresholds": list(self.thresholds)}


class FaceDetector(Protocol):
    smallest_px: int  # of a face's shorter side; smaller ones are not looked for

    def detect(self, pictures: Sequence[Picture]) -> list[list[Face]]:
        """The faces of each picture, the surest first."""

    def find_again(self, pictures: Sequence[Picture], boxes: Sequence[Box]) -> list[Face | None]:
        """In each picture one face, near where it is expected."""


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


def _mtcnn(settings: DetectorSettings, device: str) -> FaceDetector:
    from preprocessing.mtcnn import MtcnnDetector

    return MtcnnDetector(settings.thresholds, device)


DETECTORS: dict[str, Callable[[DetectorSettings, str], FaceDetector]] = {"mtcnn": _mtcnn}
