"""Face crops: the window of a frame that a face is cut from, cutting it out, and reading the crops on disk.

A window is in pixels of the full frame and may extend beyond its edges. Edge pixels are then repeated, so that the crop keeps
its shape and the face its position in it; aligned crops are black there, as in the published detectors that use them. The same
window also cuts the matching region out of a mask of the same size.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.incremental import LEDGER, StageSettings, read_settings, shard_ledgers
from explain_deepfakes.pipeline.index import SPLITS
from explain_deepfakes.pipeline.ledger import Entry, Ledger
from explain_deepfakes.preprocessing.crops.stores import mask_name

if TYPE_CHECKING:
    from explain_deepfakes.preprocessing.faces.face import Box

MAX_BOX_RATIO = 2  # largest side of a box or window, relative to the picture


class Window(NamedTuple):
    """Integers, unless the crop is aligned: the square is then rotated around its centre, and resized to `side` pixels."""

    x0: float
    y0: float
    x1: float  # column x1 and row y1 are not included
    y1: float
    angle: float = 0.0  # degrees by which the square is rotated in the frame, clockwise
    side: int = 0  # 0: the crop has the pixels of the frame

    @property
    def area(self) -> float:
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    def to_crop(self) -> NDArray[np.float64]:
        """The transform (2, 3) from positions in the frame to positions in an aligned crop."""
        zoom, angle = self.side / (self.x1 - self.x0), np.radians(-self.angle)
        linear = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        centre = np.array([self.x0 + self.x1, self.y0 + self.y1]) / 2
        return np.hstack((linear, (self.side / 2 - linear @ centre)[:, None]))

    def corners(self) -> NDArray[np.float64]:
        """The corners (4, 2) in the frame, clockwise."""
        sides = np.array([[self.x0, self.y0], [self.x1, self.y0], [self.x1, self.y1], [self.x0, self.y1]])
        centre, angle = sides.mean(0), np.radians(self.angle)
        return centre + (sides - centre) @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


class CropRow(NamedTuple):
    """A crop in the ledger of extract_crops, where it is a JSON list."""

    name: str  # file name
    frame: int
    track: int
    x0: float
    y0: float
    x1: float
    y1: float
    angle: float = 0.0
    side: int = 0

    @property
    def window(self) -> Window:
        return Window(*self[3:])


@dataclass(frozen=True, slots=True)
class Crop:
    """A picture of a face on disk, and its source. There may be millions of them, so the crops of a video share objects."""

    video: str
    frame: int
    track: int
    name: str
    window: Window
    folder: Path  # or archive
    masks: Path | None = None  # folder or archive with masks of the manipulated pixels, if they are known

    @property
    def path(self) -> Path:
        """The path of the picture; in an archive, it has the form …/000_003.zip/9_0.png."""
        return self.folder / self.name

    @property
    def mask(self) -> Path | None:
        return self.masks and self.masks / mask_name(self.name)


def is_plausible_box(box: Box, width: int, height: int) -> bool:
    """Whether a picture of this size can have a face there: the box overlaps the picture and is not many times as large."""
    x0, y0, x1, y1 = box
    overlaps = x0 <= width - 1 and y0 <= height - 1 and x1 >= 1 and y1 >= 1
    return overlaps and x1 - x0 <= MAX_BOX_RATIO * width and y1 - y0 <= MAX_BOX_RATIO * height


def compute_window(box: Box, margin: float, square: bool, width: int, height: int) -> Window:
    """Return the box with a margin on each side, a fraction of its width and height.

    A square window is centred on the box and may extend beyond the frame, but is not much larger than the frame. Any other
    window is clipped to the frame.
    """
    x0, y0, x1, y1 = box
    wide, high = (x1 - x0) * (1 + 2 * margin), (y1 - y0) * (1 + 2 * margin)
    if square:
        side = min(max(1, round(max(wide, high))), MAX_BOX_RATIO * max(width, height))
        left, top = round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2)
        return Window(left, top, left + side, top + side)
    left, top = round((x0 + x1 - wide) / 2), round((y0 + y1 - high) / 2)
    right, bottom = left + max(1, round(wide)), top + max(1, round(high))
    return Window(max(left, 0), max(top, 0), min(right, width), min(bottom, height))


def crop_image(frame: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
    height, width = frame.shape[:2]
    if window.side:
        return cv2.warpAffine(frame, window.to_crop(), (window.side, window.side), flags=cv2.INTER_LINEAR)
    x0, y0, x1, y1 = map(round, window[:4])
    inside = frame[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    if inside.shape[:2] == (y1 - y0, x1 - x0):
        return inside
    rows, columns = np.arange(y0, y1).clip(0, height - 1), np.arange(x0, x1).clip(0, width - 1)
    return frame[rows][:, columns]


def read_crops(output: Path) -> list[Crop]:
    """Return the crops in an output folder of extract_crops, sorted by video, frame and track.

    The folder may also be the corpus folder that contains `crops`, or one whose splits were extracted separately.
    """
    crops = [
        crop for path in find_ledgers(output) for entry in Ledger(path).entries.values() for crop in _crops_of(path, entry)
    ]
    return sorted(crops, key=lambda crop: (crop.video, crop.frame, crop.track))


def find_ledgers(output: Path) -> list[Path]:
    """Return the ledger of all crops in a folder, or the ledgers of its splits."""
    folders = (output, output / "crops", *(output / split for split in SPLITS))
    if any(shard_ledgers(folder) for folder in folders):
        raise UserError(f"{output} holds crops of shards that are not merged; run extract_crops once more without --shard")
    ledgers = [folder / LEDGER for folder in folders if (folder / LEDGER).is_file()]
    if not ledgers:
        raise UserError(f"{output} holds no crops; run `dvc repro extract_crops` or preprocessing/extract_crops.py")
    return ledgers[:1] if ledgers[0].parent in folders[:2] else ledgers


def settings_of_crops(output: Path) -> StageSettings:
    """Return the settings of the stages that produced the crops in a folder, as far as they are recorded."""
    recorded = filter(None, (read_settings(path.parent) for path in find_ledgers(output)))
    first = next(recorded, {})
    if any(settings != first for settings in recorded):
        raise UserError(f"the splits in {output} were cropped with different settings; crop them again with the same ones")
    return first


def _crops_of(ledger: Path, entry: Entry) -> Iterator[Crop]:
    outputs = [Path(os.path.normpath(ledger.parent / output)) for output in entry["outputs"]]
    masks = outputs[1] if len(outputs) > 1 else None
    for row in (CropRow(*values) for values in entry.get("crops", ())):
        yield Crop(entry["name"], row.frame, row.track, row.name, row.window, outputs[0], masks)
