"""Face detectors: pictures in, faces out, in pixels of the picture as it was given.

Pictures are RGB, uint8, (height, width, 3), all of one size within a call, and small enough that the smallest face worth
finding is `smallest_px` in them. Calls may come from several threads. A detector is imported when it is made, not before.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from preprocessing.video import Picture

Box = tuple[float, float, float, float]  # x0, y0, x1, y1


@dataclass(frozen=True, slots=True)
class Face:
    box: Box  # may reach over the picture's edge
    score: float
    landmarks: tuple[tuple[float, float], ...]  # eyes (left of the picture first), nose, mouth corners; or none


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
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1])
    return width * height / (areas - width * height)


def scaled(face: Face, x: float, y: float) -> Face:
    """The face in a picture that is so many times as wide and as high."""
    x0, y0, x1, y1 = face.box
    return Face((x0 * x, y0 * y, x1 * x, y1 * y), face.score, tuple((px * x, py * y) for px, py in face.landmarks))


def _mtcnn(settings: DetectorSettings, device: str) -> FaceDetector:
    from preprocessing.mtcnn import MtcnnDetector

    return MtcnnDetector(settings.thresholds, device)


DETECTORS: dict[str, Callable[[DetectorSettings, str], FaceDetector]] = {"mtcnn": _mtcnn}
