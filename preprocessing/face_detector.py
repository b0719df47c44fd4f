"""Face detectors: pictures in, faces out, in pixels of the picture as it was given.

Pictures are RGB, uint8, (height, width, 3), all of one size within a call. torch is imported when a detector is made,
not before.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from preprocessing.video import Picture

Box = tuple[float, float, float, float]  # x0, y0, x1, y1


@dataclass(frozen=True)
class Face:
    box: Box  # may reach over the picture's edge
    score: float
    landmarks: tuple[tuple[float, float], ...]  # eyes (left of the picture first), nose, mouth corners; or none


@dataclass(frozen=True)
class DetectorSettings:
    """All that decides which faces are found and where."""

    detector: str
    scale_to: int  # px of the longer side; larger pictures are shrunk to it first
    thresholds: tuple[float, ...]  # of MTCNN's three networks
    min_face_size: int  # px in the picture as shrunk

    def as_facts(self) -> dict[str, Any]:
        return {**asdict(self), "thresholds": list(self.thresholds)}


class FaceDetector(Protocol):
    def detect(self, pictures: Sequence[Picture]) -> list[list[Face]]:
        """The faces of each picture, the surest first."""


class MtcnnDetector:
    """MTCNN (Zhang et al. 2016) of facenet-pytorch, whose weights come with the package."""

    def __init__(self, settings: DetectorSettings, device: str) -> None:
        import torch
        from facenet_pytorch import MTCNN

        from pipeline.reproducible import choose_device

        torch.set_num_threads(1)  # videos go side by side, one a process, and however many there are, sums come out the same
        self.scale_to = settings.scale_to
        self.mtcnn = MTCNN(
            keep_all=True,
            select_largest=False,
            thresholds=list(settings.thresholds),
            min_face_size=settings.min_face_size,
            device=choose_device(device),
        ).to(memory_format=torch.channels_last)  # the same boxes; pooling on a CPU is some seven times as fast

    def detect(self, pictures: Sequence[Picture]) -> list[list[Face]]:
        scale = min(1.0, self.scale_to / max(pictures[0].shape[:2]))
        batch = np.stack([_shrunk(picture, scale) for picture in pictures])
        if min(batch.shape[1:3]) < self.mtcnn.min_face_size:
            return [[] for _ in pictures]  # facenet-pytorch cannot build its pyramid of so small a picture
        # What the picture was really shrunk by: its sides are whole numbers.
        back = np.array(pictures[0].shape[1::-1]) / np.array(batch.shape[2:0:-1])
        boxes, scores, landmarks = self.mtcnn.detect(batch, landmarks=True)
        return [
            [] if found is None else _faces(found, sure, points, back)
            for found, sure, points in zip(boxes, scores, landmarks, strict=True)
        ]


def _shrunk(picture: Picture, scale: float) -> Picture:
    if scale == 1.0:
        return picture
    size = tuple(max(1, round(side * scale)) for side in picture.shape[1::-1])
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _faces(boxes: Any, scores: Any, landmarks: Any, back: Any) -> list[Face]:
    boxes = np.asarray(boxes, dtype=float).reshape(-1, 2, 2) * back
    landmarks = np.asarray(landmarks, dtype=float) * back
    faces = [
        Face(tuple(box.ravel().tolist()), float(score), tuple(map(tuple, points.tolist())))
        for box, score, points in zip(boxes, scores, landmarks, strict=True)
        if np.isfinite(box).all() and (box[1] > box[0]).all()
    ]
    return sorted(faces, key=lambda face: (-face.score, face.box))


DETECTORS: dict[str, Callable[[DetectorSettings, str], FaceDetector]] = {"mtcnn": MtcnnDetector}
