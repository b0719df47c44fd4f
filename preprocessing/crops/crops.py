"""Crops: which window of a frame a face is cut from, the cut itself, and the crops that lie on disk.

A window is in pixels of the full frame and may reach over its edge; there the edge's pixels are repeated, so that the
crop keeps its shape and the face its place in it. The same window cuts the same place out of any frame of that size, a
mask's too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.incremental import LEDGER, shard_ledgers
from pipeline.index import SPLITS
from pipeline.ledger import Ledger
from preprocessing.crops.stores import mask_name

if TYPE_CHECKING:
    from preprocessing.faces.face import Box

Window = tuple[int, int, int, int]  # x0, y0, x1, y1; the last column and row are not in it
LARGEST = 2  # a box, or its window, in sizes of the picture


@dataclass(frozen=True, slots=True)
class Crop:
    """A face's picture on disk, and where it comes from. There may be millions, so what a video's have in common is shared."""

    video: str
    frame: int
    track: int
    name: str
    window: Window
    folder: Path  # or archive
    masks: Path | None = None  # folder of pictures of which pixels were manipulated, where that is known

    @property
    def path(self) -> Path:
        """In an archive …/000_003.zip, a picture's is …/000_003.zip/9_0.png."""
        return self.folder / self.name

    @property
    def mask(self) -> Path | None:
        return self.masks and self.masks / mask_name(self.name)


def is_within_reason(box: Box, width: int, height: int) -> bool:
    """Whether it may be a face's in such a picture: some of it is inside, and it is not many times as large."""
    x0, y0, x1, y1 = box
    meets = x0 <= width - 1 and y0 <= height - 1 and x1 >= 1 and y1 >= 1
    return meets and x1 - x0 <= LARGEST * width and y1 - y0 <= LARGEST * height


def window_of(box: Box, margin: float, square: bool, width: int, height: int) -> Window:
    """The box with a margin on each side, a share of its width and height.

    Either a square around its middle, wherever that reaches (but not much larger than the frame), or as much of it as
    lies in the frame.
    """
    x0, y0, x1, y1 = box
    wide, high = (x1 - x0) * (1 + 2 * margin), (y1 - y0) * (1 + 2 * margin)
    if square:
        side = min(max(1, round(max(wide, high))), LARGEST * max(width, height))
        left, top = round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2)
        return left, top, left + side, top + side
    left, top = round((x0 + x1 - wide) / 2), round((y0 + y1 - high) / 2)
    right, bottom = left + max(1, round(wide)), top + max(1, round(high))
    return max(left, 0), max(top, 0), min(right, width), min(bottom, height)


def crop_image(frame: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = window
    inside = frame[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    if inside.shape[:2] == (y1 - y0, x1 - x0):
        return inside
    rows, columns = np.arange(y0, y1).clip(0, height - 1), np.arange(x0, x1).clip(0, width - 1)
    return frame[rows][:, columns]


def read_crops(output: Path) -> list[Crop]:
    """The crops below a folder that extract_crops wrote to, by video, frame and track.

    It may also be the corpus folder that holds `crops`, or one whose splits were extracted one by one.
    """
    crops = [crop for path in ledgers_in(output) for entry in Ledger(path).entries.values() for crop in _crops_of(path, entry)]
    return sorted(crops, key=lambda crop: (crop.video, crop.frame, crop.track))


def ledgers_in(output: Path) -> list[Path]:
    """The ledger of all crops below a folder, or those of its splits."""
    places = (output, output / "crops", *(output / split for split in SPLITS))
    if any(shard_ledgers(place) for place in places):
        raise UserError(f"{output} holds crops of shards that are not merged; run extract_crops once more, without --shard")
    found = [place / LEDGER for place in places if (place / LEDGER).is_file()]
    if not found:
        raise UserError(f"{output} holds no crops; `dvc repro extract_crops` or preprocessing/extract_crops.py makes them")
    return found[:1] if found[0].parent in places[:2] else found


def _crops_of(ledger: Path, entry: dict[str, Any]) -> Iterator[Crop]:
    places = [Path(os.path.normpath(ledger.parent / output)) for output in entry["outputs"]]
    masks = places[1] if len(places) > 1 else None
    for name, frame, track, *window in entry.get("crops", ()):
        yield Crop(entry["name"], frame, track, name, tuple(window), places[0], masks)
