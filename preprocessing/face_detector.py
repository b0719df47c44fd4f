"""Face detectors: pictures in, faces out, in pixels of the picture as it was given.

Pictures are RGB, uint8, (height, width, 3), all of one size within a call, and small enough that the smallest face worth
finding is `smallest_px` in them. Calls may come from several threads. torch is imported when a detector is made, not
before.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

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


class MtcnnDetector:
    """MTCNN (Zhang et al. 2016) of facenet-pytorch, whose weights come with the package.

    A known face is found again by the last of its three networks alone, which judges and mends the expected box; where
    that one is unsure, by all three in a tile around the box.
    """

    smallest_px = 20
    PYRAMID_STEP = 0.709  # between two scales that the first network looks at
    SMALLER = 0.7  # a face found again may have shrunk to this
    TILE = 2.0  # side, in sides of the expected box
    SAME_FACE = 0.3  # least overlap with the expected box, as intersection over union
    AT_ONCE = 4  # pictures; more are slower on a CPU, and the boxes depend on it a little, so it is fixed

    def __init__(self, settings: DetectorSettings, device: str) -> None:
        import torch
        from facenet_pytorch import MTCNN

        from pipeline.reproducible import choose_device

        torch.set_num_threads(1)  # work goes side by side in other ways, and however it does, sums come out the same
        self.thresholds = list(settings.thresholds)
        self.device = choose_device(device)
        # channels_last: the same boxes; pooling on a CPU is some seven times as fast
        self.networks = MTCNN(device=self.device).to(memory_format=torch.channels_last)

    def detect(self, pictures: Sequence[Picture]) -> list[list[Face]]:
        parts = [pictures[first : first + self.AT_ONCE] for first in range(0, len(pictures), self.AT_ONCE)]
        return [faces for part in parts for faces in self._cascade(np.stack(part), self.smallest_px)]

    def find_again(self, pictures: Sequence[Picture], boxes: Sequence[Box]) -> list[Face | None]:
        judged = self._judge(pictures, np.array(boxes))
        found: list[Face | None] = [face if face.score >= self.thresholds[-1] else None for face in judged]
        unsure = [number for number, face in enumerate(found) if face is None]
        if unsure:
            near = self._look_near([pictures[number] for number in unsure], np.array(boxes)[unsure])
            for number, face in zip(unsure, near, strict=True):
                found[number] = face
        return found

    def _judge(self, pictures: Sequence[Picture], boxes: NDArray[np.float64]) -> list[Face]:
        """What the last network says of a square around each box."""
        import torch

        middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True)
        squares = np.hstack([middles - sides / 2, middles + sides / 2])
        tiles = np.stack([_cut(picture, square) for picture, square in zip(pictures, squares, strict=True)])
        with torch.inference_mode():
            pixels = torch.from_numpy(tiles).to(self.device).permute(0, 3, 1, 2).float()
            shifts, points, odds = (out.cpu().double().numpy() for out in self.networks.onet((pixels - 127.5) / 128))
        mended = squares + shifts * (sides + 1)
        landmarks = squares[:, None, :2] + points.reshape(-1, 2, 5).swapaxes(1, 2) * (sides + 1)[:, None] - 1
        return [_face(*one) for one in zip(mended, odds[:, 1], landmarks, strict=True)]

    def _look_near(self, pictures: Sequence[Picture], boxes: NDArray[np.float64]) -> list[Face | None]:
        """All three networks, in a tile around each box, at the scales near the box's own."""
        height, width = pictures[0].shape[:2]
        side = float((boxes[:, 2:] - boxes[:, :2]).max())
        extent = np.minimum(np.ceil(self.TILE * side), (width, height)).astype(int)
        corners = ((boxes[:, :2] + boxes[:, 2:] - extent) / 2).round().clip(0, (width, height) - extent).astype(int)
        tiles = np.stack([p[y : y + extent[1], x : x + extent[0]] for p, (x, y) in zip(pictures, corners, strict=True)])
        smallest = float(self.smallest_px)
        while smallest / self.PYRAMID_STEP <= self.SMALLER * side:  # the scales that the whole picture is searched at
            smallest /= self.PYRAMID_STEP
        candidates = self._cascade(tiles, smallest)
        return [
            _most_like([_moved(face, *corner) for face in faces], tuple(box), self.SAME_FACE)
            for faces, corner, box in zip(candidates, corners.tolist(), boxes.tolist(), strict=True)
        ]

    def _cascade(self, pictures: NDArray[np.uint8], smallest: float) -> list[list[Face]]:
        import torch
        from facenet_pytorch.models.utils.detect_face import detect_face

        if min(pictures.shape[1:3]) < smallest:
            return [[] for _ in pictures]  # facenet-pytorch cannot build its pyramid of so small a picture
        networks = self.networks.pnet, self.networks.rnet, self.networks.onet
        with torch.inference_mode():
            # Its colours one after another, though in the order that is asked for: shrinking is faster so.
            pixels = torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2).float().contiguous().permute(0, 2, 3, 1)
            found = detect_face(pixels, smallest, *networks, self.thresholds, self.PYRAMID_STEP, self.device)
        return [_faces(boxes, points) for boxes, points in zip(*found, strict=True)]


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


def _cut(picture: Picture, square: NDArray[np.float64]) -> Picture:
    """The part of the square that lies in the picture, as the last network wants it."""
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = square.astype(int)
    inside = picture[max(y0 - 1, 0) : max(min(y1, height), 0), max(x0 - 1, 0) : max(min(x1, width), 0)]
    return cv2.resize(inside, (48, 48), interpolation=cv2.INTER_AREA) if inside.size else np.zeros((48, 48, 3), np.uint8)


def _most_like(faces: list[Face], box: Box, least: float) -> Face | None:
    best = max(faces, key=lambda face: overlap(face.box, box), default=None)
    return best if best is not None and overlap(best.box, box) >= least else None


def _moved(face: Face, x: int, y: int) -> Face:
    x0, y0, x1, y1 = face.box
    return Face((x0 + x, y0 + y, x1 + x, y1 + y), face.score, tuple((px + x, py + y) for px, py in face.landmarks))


def _faces(boxes: Any, landmarks: Any) -> list[Face]:
    boxes, landmarks = np.asarray(boxes, float).reshape(-1, 5), np.asarray(landmarks, float).reshape(-1, 5, 2)
    faces = [
        _face(box[:4], box[4], points)
        for box, points in zip(boxes, landmarks, strict=True)
        if np.isfinite(box).all() and (box[2:4] > box[:2]).all()
    ]
    return sorted(faces, key=lambda face: (-face.score, face.box))


def _face(box: NDArray[np.float64], score: float, landmarks: NDArray[np.float64]) -> Face:
    return Face(tuple(box.tolist()), float(score), tuple(map(tuple, landmarks.tolist())))


DETECTORS: dict[str, Callable[[DetectorSettings, str], FaceDetector]] = {"mtcnn": MtcnnDetector}
