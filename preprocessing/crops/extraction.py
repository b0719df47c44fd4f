"""Extraction from one video: its frames and the boxes of the faces in them -> a picture of each face."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.params import setting
from preprocessing.crops.crops import Window, crop_image, is_within_reason, window_of
from preprocessing.crops.stores import LOSSLESS, STORES, SUFFIXES, WHITE, Put, encode_picture, mask_name
from preprocessing.faces.boxes import BadBoxes
from preprocessing.faces.tracks import TrackedFace
from preprocessing.video.sampling import evenly_spaced
from preprocessing.video.video import OpenVideo, Picture, Reading, UnreadableVideo, read_frames

CODE_VERSION = 3  # raised with a change of this stage's code that changes its results: all crops are then made anew
ENCODERS = 2  # crops that are encoded side by side


@dataclass(frozen=True)
class CropSettings:
    """All that decides which faces are cut out of a video and what their pictures show; a checkpoint carries it."""

    margin: float = setting("added on each side, as a share of the face's box", low=0)
    square: bool = setting("cut squares; else the box as it is")
    min_size: int = setting("px; faces whose box has a shorter side are left out", low=1)
    people: str = setting("whose crops to make: everybody's, or those of the main person", choices=("all", "main"))
    frames: int | None = setting("of a video at most, equidistant among those with faces; null: all of those", low=1)
    format: str = setting("of the pictures; jpeg and webp are lossy, at `quality`", choices=tuple(SUFFIXES))
    quality: int = setting("of jpeg and webp", low=1, high=100)


@dataclass(frozen=True)
class Params(CropSettings):
    store: str = setting("a folder of pictures for each video, or one uncompressed zip", choices=STORES)
    workers: int = setting("videos worked on side by side", low=1)
    max_failed_fraction: float = setting("of the videos; more end the stage with an error", low=0, high=1)

    def crop_settings(self) -> CropSettings:
        return CropSettings(**{field.name: getattr(self, field.name) for field in fields(CropSettings)})

    def that_matter(self) -> dict[str, Any]:
        """What the crops depend on, and are stale without."""
        settings = asdict(self.crop_settings())
        if self.format == LOSSLESS:
            del settings["quality"]
        return {**settings, "store": self.store, "code": CODE_VERSION}


def chosen_faces(frames: dict[int, list[TrackedFace]], settings: CropSettings) -> dict[int, list[TrackedFace]]:
    chosen = {index: [face for face in faces if _is_wanted(face, settings)] for index, faces in sorted(frames.items())}
    with_faces = [index for index, faces in chosen.items() if faces]
    places = evenly_spaced(len(with_faces), settings.frames or len(with_faces))
    return {with_faces[place]: chosen[with_faces[place]] for place in places}


def _is_wanted(tracked: TrackedFace, settings: CropSettings) -> bool:
    x0, y0, x1, y1 = tracked.face.box
    return min(x1 - x0, y1 - y0) >= settings.min_size and (settings.people == "all" or tracked.track == 0)


def write_crops(video: OpenVideo, faces: dict[int, list[TrackedFace]], put: Put, settings: CropSettings) -> list[list[Any]]:
    """What the ledger remembers of each crop: its file, frame, track and window."""
    crops: list[list[Any]] = []
    encoding: deque[tuple[str, Future[bytes]]] = deque()
    with ThreadPoolExecutor(ENCODERS) as pool:
        for index, picture in video.frames(faces):
            for tracked, window in _windows(index, picture, faces[index], settings):
                name = f"{index}_{tracked.track}{SUFFIXES[settings.format]}"
                crop = crop_image(picture, window)
                encoding.append((name, pool.submit(encode_picture, crop, settings.format, settings.quality)))
                crops.append([name, index, tracked.track, *window])
            while len(encoding) > 2 * ENCODERS:
                _put_first(encoding, put)
        while encoding:
            _put_first(encoding, put)
    return crops


def _windows(
    index: int, picture: Picture, faces: list[TrackedFace], settings: CropSettings
) -> Iterator[tuple[TrackedFace, Window]]:
    height, width = picture.shape[:2]
    for tracked in sorted(faces, key=lambda tracked: tracked.track):
        box = tracked.face.box
        if not is_within_reason(box, width, height):
            raise BadBoxes(f"frame {index} has a box {list(box)} that can be no face's in a picture of {width} by {height}")
        yield tracked, window_of(box, settings.margin, settings.square, width, height)


def _put_first(encoding: deque[tuple[str, Future[bytes]]], put: Put) -> None:
    name, content = encoding.popleft()
    put(name, content.result())


def write_masks(path: Path, crops: list[list[Any]], put: Put, reading: Reading) -> None:
    """The same windows, cut out of the video that is white where the other one was manipulated."""
    by_frame: dict[int, list[list[Any]]] = {}
    for crop in crops:
        by_frame.setdefault(crop[1], []).append(crop)
    written = 0
    for index, picture in read_frames(path, by_frame, reading):
        for name, _, _, *window in by_frame[index]:
            changed = crop_image(picture, (window[0], window[1], window[2], window[3]))[..., 0] > WHITE
            put(mask_name(name), encode_picture(255 * changed.astype(np.uint8), LOSSLESS, quality=100))
            written += 1
    if written < len(crops):
        raise UnreadableVideo(f"it shows only {written} of the {len(crops)} crops", "fetch the mask again, or delete it")
