"""MTCNN (Zhang et al. 2016): three networks, each of which looks closer at what the one before let pass.

The networks and their weights are facenet-pytorch's. What leads from one to the next is done here: the same cascade, with
the shrinking and cutting done by OpenCV, in some half of the time; and a known face is found again by the last network
alone, which judges and mends the box that is expected, or where that one is unsure by all three in a tile around the box.

Boxes are arrays (n, 5) of x0, y0, x1, y1 and score; beside them is, where pictures come several at once, whose they are.
"""

from array import array
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN
from numpy.typing import NDArray
from torchvision.ops import batched_nms

from pipeline.memory import keep_memory
from pipeline.reproducible import choose_device
from preprocessing.faces.face import Box, Face, each_once, overlap, share_within
from preprocessing.video.video import Picture

Array = NDArray[np.float32]

FIELD_PX, STRIDE_PX = 12, 2  # of the first network
PYRAMID_STEP = 0.709  # between two scales that the first network looks at
SECOND_PX, THIRD_PX = 24, 48  # sides of the pictures that the others look at
SAME_SCALE, SAME_FACE = 0.5, 0.7  # overlaps from which two proposals are one
SMALLER = 0.7  # a face found again may have shrunk to this
TILE = 2.0  # side of the picture around a face that is looked for, in sides of the face
STILL_THE_SAME = 0.3  # least overlap of a face found again with the box that was expected


class MtcnnDetector:
    smallest_px = 20

    def __init__(self, thresholds: Sequence[float], device: str) -> None:
        keep_memory()
        torch.set_num_threads(1)  # work goes side by side in other ways, and however it does, sums come out the same
        self.thresholds = tuple(thresholds)
        self.device = choose_device(device)
        # channels_last: the same boxes; pooling on a CPU is some seven times as fast
        networks = MTCNN(device=self.device).to(memory_format=torch.channels_last)
        self.first, self.second, self.third = map(_with_quick_slopes, (networks.pnet, networks.rnet, networks.onet))

    def detect(self, pictures: Sequence[Picture]) -> list[list[Face]]:
        return [faces for picture in pictures for faces in self._cascade([picture], self.smallest_px)]

    def find_again(self, pictures: Sequence[Picture], boxes: Sequence[Box]) -> list[Face | None]:
        expected = np.array(boxes, np.float32)
        judged = self._judge(list(pictures), _squares(expected), np.arange(len(pictures)))
        found: list[Face | None] = [face if face.score >= self.thresholds[-1] else None for face in judged]
        unsure = [number for number, face in enumerate(found) if face is None]
        if unsure:
            near = self._look_near([pictures[number] for number in unsure], expected[unsure])
            for number, face in zip(unsure, near, strict=True):
                found[number] = face
        return found

    def _look_near(self, pictures: list[Picture], boxes: Array) -> list[Face | None]:
        """All three networks, in a tile around each box, at the scales near the box's own."""
        height, width = pictures[0].shape[:2]
        side = float((boxes[:, 2:] - boxes[:, :2]).max())
        extent = np.minimum(np.ceil(TILE * side), (width, height)).astype(int)
        corners = ((boxes[:, :2] + boxes[:, 2:] - extent) / 2).round().clip(0, (width, height) - extent).astype(int)
        tiles = [picture[y : y + extent[1], x : x + extent[0]] for picture, (x, y) in zip(pictures, corners, strict=True)]
        smallest = float(self.smallest_px)
        while smallest / PYRAMID_STEP <= SMALLER * side:  # the scales that the whole picture is searched at
            smallest /= PYRAMID_STEP
        return [
            _most_like([face.mapped(left.__add__, top.__add__) for face in faces], tuple(box))
            for faces, (left, top), box in zip(
                self._cascade(tiles, smallest), corners.astype(float).tolist(), boxes.tolist(), strict=True
            )
        ]

    def _cascade(self, pictures: list[Picture], smallest: float) -> list[list[Face]]:
        """The faces of each picture, the surest first."""
        boxes, whose = self._sift(pictures, *self._propose(pictures, smallest))
        faces = self._judge(pictures, boxes, whose)
        return [
            each_once(
                (face for face, owner in zip(faces, whose, strict=True) if owner == number and self._is_sure(face)),
                share_within,
                SAME_FACE,
            )
            for number in range(len(pictures))
        ]

    def _is_sure(self, face: Face) -> bool:
        return face.score > self.thresholds[2] and face.box[2] > face.box[0] and face.box[3] > face.box[1]

    def _propose(self, pictures: list[Picture], smallest: float) -> tuple[Array, NDArray[np.int64]]:
        """The first network: everywhere, at all scales."""
        height, width = pictures[0].shape[:2]
        halves = [pictures]
        nothing: tuple[Array, Array, NDArray[np.int64]] = (
            np.empty((0, 5), np.float32),
            np.empty((0, 4), np.float32),
            np.empty(0, int),
        )
        proposals = [nothing]
        scale = FIELD_PX / smallest
        while min(height, width) * scale >= FIELD_PX:
            size = int(width * scale + 1), int(height * scale + 1)
            while halves[-1][0].shape[1] >= 4 * size[0] and halves[-1][0].shape[0] >= 4 * size[1]:  # quicker to shrink from
                half = halves[-1][0].shape[1] // 2, halves[-1][0].shape[0] // 2
                halves.append([_shrunk(picture, half) for picture in halves[-1]])
            proposals.append(self._propose_at([_shrunk(picture, size) for picture in halves[-1]], scale))
            scale *= PYRAMID_STEP
        boxes, shifts, whose = map(np.concatenate, zip(*proposals, strict=True))
        kept = _nms(boxes, whose, SAME_FACE)
        boxes, whose = boxes[kept], whose[kept]
        sides = np.tile(boxes[:, 2:4] - boxes[:, :2], 2)
        return _squares(boxes[:, :4] + shifts[kept] * sides), whose

    def _propose_at(self, pictures: list[Picture], scale: float) -> tuple[Array, Array, NDArray[np.int64]]:
        shifts, odds = self._ask(self.first, np.stack(pictures))
        whose, rows, columns = np.nonzero(odds[:, 1] >= self.thresholds[0])
        corners = np.stack([columns, rows], 1) * STRIDE_PX
        boxes = np.floor(np.hstack([corners + 1, corners + FIELD_PX]) / scale)
        boxes = np.hstack([boxes, odds[whose, 1, rows, columns, None]]).astype(np.float32)
        kept = _nms(boxes, whose, SAME_SCALE)
        return boxes[kept], shifts[whose, :, rows, columns][kept], whose[kept]

    def _sift(self, pictures: list[Picture], squares: Array, whose: NDArray[np.int64]) -> tuple[Array, NDArray[np.int64]]:
        """The second network: which proposals are worth a closer look, and where they really are."""
        if not len(squares):
            return squares, whose
        shifts, odds = self._ask(self.second, _cut_out(pictures, squares, whose, SECOND_PX))
        passed = odds[:, 1] > self.thresholds[1]
        squares, whose, shifts = squares[passed], whose[passed], shifts[passed]
        kept = _nms(np.hstack([squares, odds[passed, 1:]]), whose, SAME_FACE)
        return _squares(_mended(squares[kept], shifts[kept])), whose[kept]

    def _judge(self, pictures: list[Picture], squares: Array, whose: NDArray[np.int64]) -> list[Face]:
        """The third network, on a square for each face."""
        if not len(squares):
            return []
        shifts, points, odds = self._ask(self.third, _cut_out(pictures, squares, whose, THIRD_PX))
        sides = (squares[:, 2:] - squares[:, :2] + 1)[:, None]
        landmarks = squares[:, None, :2] + points.reshape(-1, 2, 5).swapaxes(1, 2) * sides - 1
        return [
            Face(tuple(box), score, array("d", marks))
            for box, score, marks in zip(
                _mended(squares, shifts).tolist(), odds[:, 1].tolist(), landmarks.reshape(-1, 10).tolist(), strict=True
            )
        ]

    def _ask(self, network: torch.nn.Module, pictures: NDArray[np.uint8]) -> list[Array]:
        with torch.inference_mode():
            pixels = torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2).float()
            return [answer.float().cpu().numpy() for answer in network((pixels - 127.5) / 128)]


class QuickSlopes(torch.nn.Module):
    """PReLU of pictures whose channels lie last: the same numbers in a quarter of the time."""

    def __init__(self, slopes: torch.Tensor) -> None:
        super().__init__()
        self.slopes = slopes

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        count, channels, height, width = pictures.shape
        rows = pictures.permute(0, 2, 3, 1).reshape(count * height, width * channels)
        sloped = torch.nn.functional.prelu(rows, self.slopes.repeat(width))  # one long row of slopes, not many short ones
        return sloped.view(count, height, width, channels).permute(0, 3, 1, 2)


def _with_quick_slopes(network: torch.nn.Module) -> torch.nn.Module:
    for convolution, prelu in pairwise(list(network.named_children())):
        if isinstance(convolution[1], torch.nn.Conv2d) and isinstance(prelu[1], torch.nn.PReLU):
            setattr(network, prelu[0], QuickSlopes(prelu[1].weight.detach()))
    return network


_shrunk = partial(cv2.resize, interpolation=cv2.INTER_AREA)


def _cut_out(pictures: list[Picture], squares: Array, whose: NDArray[np.int64], side: int) -> NDArray[np.uint8]:
    """What of each square lies in its picture, as a picture of that side."""
    height, width = pictures[0].shape[:2]
    cut = np.zeros((len(squares), side, side, 3), np.uint8)
    for number, (owner, (x0, y0, x1, y1)) in enumerate(zip(whose, squares.astype(int).tolist(), strict=True)):
        inside = pictures[owner][max(y0 - 1, 0) : max(min(y1, height), 0), max(x0 - 1, 0) : max(min(x1, width), 0)]
        if inside.size:
            cut[number] = _shrunk(inside, (side, side))
    return cut


def _squares(boxes: Array) -> Array:
    middles, sides = (boxes[:, :2] + boxes[:, 2:4]) / 2, (boxes[:, 2:4] - boxes[:, :2]).max(1, keepdims=True)
    return np.hstack([middles - sides / 2, middles + sides / 2])


def _mended(boxes: Array, shifts: Array) -> Array:
    return boxes + shifts * np.tile(boxes[:, 2:] - boxes[:, :2] + 1, 2)


def _nms(boxes: Array, whose: NDArray[np.int64], threshold: float) -> NDArray[np.int64]:
    """Which boxes stay, the surest first: of those that overlap in one picture, the surest."""
    of_all = torch.from_numpy(np.ascontiguousarray(boxes[:, :4])), torch.from_numpy(np.ascontiguousarray(boxes[:, 4]))
    return batched_nms(*of_all, torch.from_numpy(whose), threshold).numpy()


def _most_like(faces: list[Face], box: Any) -> Face | None:
    best = max(faces, key=lambda face: overlap(face.box, box), default=None)
    return best if best is not None and overlap(best.box, box) >= STILL_THE_SAME else None
