"""Extraction from one video: its frames and the boxes of the faces in them -> a picture of each face."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.params import setting
from preprocessing.crops import crop_image, window_of
from preprocessing.tracks import TrackedFace
from preprocessing.video import READERS, Picture, UnreadableVideo, read_frames

WHITE = 127  # above it, a mask video says: manipulated
CODE_VERSION = 1  # raised with a change of this stage's code that changes its results: all crops are then made anew


@dataclass(frozen=True)
class Params:
    margin: float = setting("added on each side, as a share of the face's box", low=0)
    square: bool = setting("cut squares; else the box as it is")
    min_size: int = setting("px; faces whose box has a shorter side are left out", low=1)
    people: str = setting("whose crops to make: everybody's, or those of the main person", choices=("all", "main"))
    reader: str = setting("decodes the videos", choices=tuple(READERS))
    workers: int = setting("videos worked on side by side", low=1)
    max_failed_fraction: float = setting("of the videos; more end the stage with an error", low=0, high=1)

    def that_matter(self) -> dict[str, Any]:
        """What the crops depend on, and are stale without."""
        return {
            **{name: value for name, value in asdict(self).items() if name not in ("workers", "max_failed_fraction")},
            "code": CODE_VERSION,
        }


def chosen_faces(frames: dict[int, list[TrackedFace]], params: Params) -> dict[int, list[TrackedFace]]:
    chosen = {index: [face for face in faces if _is_wanted(face, params)] for index, faces in frames.items()}
    return {index: faces for index, faces in chosen.items() if faces}


def _is_wanted(tracked: TrackedFace, params: Params) -> bool:
    x0, y0, x1, y1 = tracked.face.box
    return min(x1 - x0, y1 - y0) >= params.min_size and (params.people == "all" or tracked.track == 0)


def write_crops(path: Path, faces: dict[int, list[TrackedFace]], folder: Path, params: Params) -> list[list[Any]]:
    """What the ledger remembers of each crop: its file, frame, track and window."""
    crops = []
    for index, picture in read_frames(path, faces, params.reader):
        height, width = picture.shape[:2]
        for tracked in faces[index]:
            window = window_of(tracked.face.box, params.margin, params.square, width, height)
            name = f"{index}_{tracked.track}.png"
            write_png(folder / name, crop_image(picture, window))
            crops.append([name, index, tracked.track, *window])
    return crops


def write_masks(path: Path, crops: list[list[Any]], folder: Path, params: Params) -> None:
    """The same windows, cut out of the video that is white where the other one was manipulated."""
    by_frame: dict[int, list[list[Any]]] = {}
    for crop in crops:
        by_frame.setdefault(crop[1], []).append(crop)
    written = 0
    for index, picture in read_frames(path, by_frame, params.reader):
        for name, _, _, *window in by_frame[index]:
            changed = crop_image(picture, (window[0], window[1], window[2], window[3]))[..., 0] > WHITE
            write_png(folder / name, 255 * changed.astype(np.uint8))
            written += 1
    if written < len(crops):
        raise UnreadableVideo(f"it shows only {written} of the {len(crops)} crops", "fetch the mask again, or delete it")


def write_png(path: Path, picture: Picture) -> None:
    if not cv2.imwrite(str(path), picture[..., ::-1] if picture.ndim == 3 else picture):
        raise OSError(f"{path} cannot be written")
