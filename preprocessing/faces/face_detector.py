"""Face detectors: pictures in, faces out, in pixels of the picture as it was given.

Pictures are RGB, uint8, (height, width, 3), all of one size within a call, and small enough that the smallest face worth
finding is `smallest_px` in them. Calls may come from several threads. A detector is imported when it is made, not before.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from preprocessing.faces.face import Box, Face
from preprocessing.video.video import Picture


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


def _mtcnn(settings: DetectorSettings, device: str) -> FaceDetector:
    from preprocessing.faces.mtcnn import MtcnnDetector

    return MtcnnDetector(settings.thresholds, device)


DETECTORS: dict[str, Callable[[DetectorSettings, str], FaceDetector]] = {"mtcnn": _mtcnn}
