"""MTCNN face detector (Zhang et al. 2016): a cascade of three networks, P-Net, R-Net and O-Net.

The networks and weights are those of facenet-pytorch. The steps between them are implemented here, with resizing and cropping
by OpenCV, in about half the time. A known face is redetected by O-Net alone, which scores and refines the expected box; where
its score is too low, the whole cascade is applied to a tile around the box.

Boxes are arrays (n, 5) of x0, y0, x1, y1 and score. In a batch of pictures, `owners` has the index of the picture of each box.
"""

from array import array
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from explain_deepfakes.pipeline.memory import keep_memory
from explain_deepfakes.pipeline.reproducible import choose_device
from explain_deepfakes.preprocessing.faces.face import Box, Face, intersection_over_smaller, iou, suppress_duplicates
from explain_deepfakes.preprocessing.faces.mtcnn_networks import load_networks
from explain_deepfakes.preprocessing.faces.nms import batched_nms
from explain_deepfakes.preprocessing.video.video import Picture

Array = NDArray[np.float32]
Owners = NDArray[np.int64]

FIELD_PX, STRIDE_PX = 12, 2  # receptive field and stride of P-Net
PYRAMID_STEP = 0.709  # between two scales of P-Net's image pyramid
RNET_PX, ONET_PX = 24, 48  # input sides
SAME_SCALE_IOU, SAME_FACE_OVERLAP = 0.5, 0.7  # proposals above these are duplicates
MAX_SHRINK = 0.7  # scale to which a redetected face may have shrunk
TILE = 2.0  # side of the tile around the expected box, in sides of the box
MIN_REDETECTION_IOU = 0.3  # of a redetected face with the expected box


class MtcnnDetector:
    smallest_px = 20

    def __init__(self, thresholds: Sequence[float], device: str) -> None:
        keep_memory()
        torch.set_num_threads(1)  # the parallelism is elsewhere, and sums must not depend on the number of threads
        self.thresholds = tuple(thresholds)
        self.device = choose_device(device)
        # channels_last gives the same boxes, and makes pooling on a CPU about seven times as fast
        networks = torch.nn.ModuleList(load_networks(self.device)).to(memory_format=torch.channels_last)
        self.pnet, self.rnet, self.onet = map(_with_fast_prelu, networks)

    def detect(self, pictures: Sequence[Picture]) -> list[list[Face]]:
        return [faces for picture in pictures for faces in self._run_cascade([picture], self.smallest_px)]

    def redetect(self, pictures: Sequence[Picture], boxes: Sequence[Box]) -> list[Face | None]:
        expected = np.array(boxes, np.float32)
        refined = self._run_onet(list(pictures), _to_squares(expected), np.arange(len(pictures)))
        faces: list[Face | None] = [face if face.score >= self.thresholds[-1] else None for face in refined]
        missing = [number for number, face in enumerate(faces) if face is None]
        if missing:
            nearby = self._detect_nearby([pictures[number] for number in missing], expected[missing])
            for number, face in zip(missing, nearby, strict=True):
                faces[number] = face
        return faces

    def _detect_nearby(self, pictures: list[Picture], boxes: Array) -> list[Face | None]:
        """Apply the cascade to a tile around each box, at the scales near the size of the box."""
        height, width = pictures[0].shape[:2]
        side = float((boxes[:, 2:] - boxes[:, :2]).max())
        extent = np.minimum(np.ceil(TILE * side), (width, height)).astype(int)
        corners = ((boxes[:, :2] + boxes[:, 2:] - extent) / 2).round().clip(0, (width, height) - extent).astype(int)
        tiles = [picture[y : y + extent[1], x : x + extent[0]] for picture, (x, y) in zip(pictures, corners, strict=True)]
        smallest = float(self.smallest_px)
        while smallest / PYRAMID_STEP <= MAX_SHRINK * side:  # use the same scales as a search of the whole picture
            smallest /= PYRAMID_STEP
        return [
            _best_match([face.transform(left.__add__, top.__add__) for face in faces], tuple(box))
            for faces, (left, top), box in zip(
                self._run_cascade(tiles, smallest), corners.astype(float).tolist(), boxes.tolist(), strict=True
            )
        ]

    def _run_cascade(self, pictures: list[Picture], smallest: float) -> list[list[Face]]:
        """The faces of each picture, sorted by descending score."""
        boxes, owners = self._run_rnet(pictures, *self._run_pnet(pictures, smallest))
        faces = self._run_onet(pictures, boxes, owners)
        return [
            suppress_duplicates(
                (face for face, owner in zip(faces, owners, strict=True) if owner == number and self._is_accepted(face)),
                intersection_over_smaller,
                SAME_FACE_OVERLAP,
            )
            for number in range(len(pictures))
        ]

    def _is_accepted(self, face: Face) -> bool:
        return face.score > self.thresholds[2] and face.box[2] > face.box[0] and face.box[3] > face.box[1]

    def _run_pnet(self, pictures: list[Picture], smallest: float) -> tuple[Array, Owners]:
        """Propose squares, at all positions and scales."""
        height, width = pictures[0].shape[:2]
        halvings = [pictures]
        no_proposals: tuple[Array, Array, Owners] = (
            np.empty((0, 5), np.float32),
            np.empty((0, 4), np.float32),
            np.empty(0, int),
        )
        proposals = [no_proposals]
        scale = FIELD_PX / smallest
        while min(height, width) * scale >= FIELD_PX:
            size = int(width * scale + 1), int(height * scale + 1)
            # Resizing from a halved picture is faster.
            while halvings[-1][0].shape[1] >= 4 * size[0] and halvings[-1][0].shape[0] >= 4 * size[1]:
                half = halvings[-1][0].shape[1] // 2, halvings[-1][0].shape[0] // 2
                halvings.append([_resize(picture, half) for picture in halvings[-1]])
            proposals.append(self._run_pnet_at([_resize(picture, size) for picture in halvings[-1]], scale))
            scale *= PYRAMID_STEP
        boxes, offsets, owners = map(np.concatenate, zip(*proposals, strict=True))
        kept = _nms(boxes, owners, SAME_FACE_OVERLAP)
        boxes, owners = boxes[kept], owners[kept]
        sides = np.tile(boxes[:, 2:4] - boxes[:, :2], 2)
        return _to_squares(boxes[:, :4] + offsets[kept] * sides), owners

    def _run_pnet_at(self, pictures: list[Picture], scale: float) -> tuple[Array, Array, Owners]:
        """Boxes, offsets and owners of the proposals at one scale."""
        offsets, probabilities = self._run(self.pnet, np.stack(pictures))
        owners, rows, columns = np.nonzero(probabilities[:, 1] >= self.thresholds[0])
        corners = np.stack([columns, rows], 1) * STRIDE_PX
        boxes = np.floor(np.hstack([corners + 1, corners + FIELD_PX]) / scale)
        boxes = np.hstack([boxes, probabilities[owners, 1, rows, columns, None]]).astype(np.float32)
        kept = _nms(boxes, owners, SAME_SCALE_IOU)
        return boxes[kept], offsets[owners, :, rows, columns][kept], owners[kept]

    def _run_rnet(self, pictures: list[Picture], squares: Array, owners: Owners) -> tuple[Array, Owners]:
        """Drop most proposals, and refine the others."""
        if not len(squares):
            return squares, owners
        offsets, probabilities = self._run(self.rnet, _crop_squares(pictures, squares, owners, RNET_PX))
        passed = probabilities[:, 1] > self.thresholds[1]
        squares, owners, offsets = squares[passed], owners[passed], offsets[passed]
        kept = _nms(np.hstack([squares, probabilities[passed, 1:]]), owners, SAME_FACE_OVERLAP)
        return _to_squares(_apply_offsets(squares[kept], offsets[kept])), owners[kept]

    def _run_onet(self, pictures: list[Picture], squares: Array, owners: Owners) -> list[Face]:
        """Score and refine each square, and locate the landmarks in it."""
        if not len(squares):
            return []
        offsets, points, probabilities = self._run(self.onet, _crop_squares(pictures, squares, owners, ONET_PX))
        sides = (squares[:, 2:] - squares[:, :2] + 1)[:, None]
        landmarks = squares[:, None, :2] + points.reshape(-1, 2, 5).swapaxes(1, 2) * sides - 1
        boxes = _apply_offsets(squares, offsets)
        return [
            Face(tuple(box), score, array("d", coordinates))
            for box, score, coordinates in zip(
                boxes.tolist(), probabilities[:, 1].tolist(), landmarks.reshape(-1, 10).tolist(), strict=True
            )
        ]

    def _run(self, network: torch.nn.Module, pictures: NDArray[np.uint8]) -> list[Array]:
        with torch.inference_mode():
            pixels = torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2).float()
            return [output.float().cpu().numpy() for output in network((pixels - 127.5) / 128)]


class ChannelsLastPReLU(torch.nn.Module):
    """PReLU for channels_last tensors: the same values in a quarter of the time."""

    def __init__(self, slopes: torch.Tensor) -> None:
        super().__init__()
        self.slopes = slopes

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        count, channels, height, width = pictures.shape
        rows = pictures.permute(0, 2, 3, 1).reshape(count * height, width * channels)
        activated = torch.nn.functional.prelu(rows, self.slopes.repeat(width))  # one long row of slopes, not many short ones
        return activated.view(count, height, width, channels).permute(0, 3, 1, 2)


def _with_fast_prelu(network: torch.nn.Module) -> torch.nn.Module:
    """Replace each PReLU that follows a convolution."""
    for (_, layer), (next_name, next_layer) in pairwise(list(network.named_children())):
        if isinstance(layer, torch.nn.Conv2d) and isinstance(next_layer, torch.nn.PReLU):
            setattr(network, next_name, ChannelsLastPReLU(next_layer.weight.detach()))
    return network


_resize = partial(cv2.resize, interpolation=cv2.INTER_AREA)


def _crop_squares(pictures: list[Picture], squares: Array, owners: Owners, side: int) -> NDArray[np.uint8]:
    """Crop the part of each square that lies in its picture, resized to this side."""
    height, width = pictures[0].shape[:2]
    crops = np.zeros((len(squares), side, side, 3), np.uint8)
    for number, (owner, (x0, y0, x1, y1)) in enumerate(zip(owners, squares.astype(int).tolist(), strict=True)):
        inside = pictures[owner][max(y0 - 1, 0) : max(min(y1, height), 0), max(x0 - 1, 0) : max(min(x1, width), 0)]
        if inside.size:
            crops[number] = _resize(inside, (side, side))
    return crops


def _to_squares(boxes: Array) -> Array:
    centres, sides = (boxes[:, :2] + boxes[:, 2:4]) / 2, (boxes[:, 2:4] - boxes[:, :2]).max(1, keepdims=True)
    return np.hstack([centres - sides / 2, centres + sides / 2])


def _apply_offsets(boxes: Array, offsets: Array) -> Array:
    """Move the sides of each box by offsets relative to its size."""
    return boxes + offsets * np.tile(boxes[:, 2:] - boxes[:, :2] + 1, 2)


def _nms(boxes: Array, owners: Owners, threshold: float) -> NDArray[np.int64]:
    """Indices of the boxes that non-maximum suppression keeps in each picture, sorted by descending score."""
    coordinates, scores = (torch.from_numpy(np.ascontiguousarray(part)) for part in (boxes[:, :4], boxes[:, 4]))
    return batched_nms(coordinates, scores, torch.from_numpy(owners), threshold).numpy()


def _best_match(faces: list[Face], box: Box) -> Face | None:
    """The face that overlaps most with the expected box, if it is close enough."""
    best = max(faces, key=lambda face: iou(face.box, box), default=None)
    return best if best is not None and iou(best.box, box) >= MIN_REDETECTION_IOU else None
