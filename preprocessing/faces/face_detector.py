"""The interface of face detectors. Coordinates are pixels of the pictures that are passed in.

Pictures are RGB, uint8, (height, width, 3). Those of one call have the same size, and are scaled such that the smallest face to
detect measures `smallest_px`. Calls may come from several threads. The module of a detector is imported on first use.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypedDict

from explain_deepfakes.preprocessing.faces.face import Box, Face

if TYPE_CHECKING:
    from explain_deepfakes.preprocessing.video.video import Picture


class FaceDetectorRecord(TypedDict, total=False):
    """The settings of a face detector, as stored in boxes files."""

    detector: str
    min_face_size: int
    scale_to: int
    thresholds: list[float]


@dataclass(frozen=True)
class FaceDetectorSettings:
    """All settings that influence which faces are detected and where."""

    detector: str
    min_face_size: int  # px of the original frame
    scale_to: int  # px; larger frames are downscaled to this longest side, even if small faces are missed then
    thresholds: tuple[float, ...]  # of the three networks of MTCNN

    def as_record(self) -> FaceDetectorRecord:
        return {
            "detector": self.detector,
            "min_face_size": self.min_face_size,
            "scale_to": self.scale_to,
            "thresholds": list(self.thresholds),
        }


class FaceDetector(Protocol):
    smallest_px: int  # shorter side of the smallest face that is detected

    def detect(self, pictures: "Sequence[Picture]") -> list[list[Face]]:
        """Return the faces of each picture, sorted by descending score."""

    def redetect(self, pictures: "Sequence[Picture]", boxes: Sequence[Box]) -> list[Face | None]:
        """Return the face near the expected box in each picture, or None."""


def _mtcnn(settings: FaceDetectorSettings, device: str) -> FaceDetector:
    from explain_deepfakes.preprocessing.faces.mtcnn import MtcnnDetector

    return MtcnnDetector(settings.thresholds, device)


DETECTORS: dict[str, Callable[[FaceDetectorSettings, str], FaceDetector]] = {"mtcnn": _mtcnn}
