"""Extraction of the face crops of one video from its frames and face boxes."""

from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from explain_deepfakes.preprocessing.crops.crops import CropRow, Window, compute_window, crop_image, is_plausible_box
from explain_deepfakes.preprocessing.crops.params import LOSSLESS, SUFFIXES, CropSettings
from explain_deepfakes.preprocessing.crops.stores import WHITE, PictureWriter, encode_picture, mask_name
from explain_deepfakes.preprocessing.faces.boxes import BadBoxes
from explain_deepfakes.preprocessing.faces.tracks import TrackedFace
from explain_deepfakes.preprocessing.video.params import ReadingParams
from explain_deepfakes.preprocessing.video.sampling import evenly_spaced
from explain_deepfakes.preprocessing.video.video import OpenVideo, Picture, UnreadableVideo, read_frames

ENCODERS = 2  # crops that are encoded in parallel

EncodedCrops = deque[tuple[str, Future[bytes]]]  # names, and file contents to come


def select_faces(frames: dict[int, list[TrackedFace]], settings: CropSettings) -> dict[int, list[TrackedFace]]:
    """Return the faces to cut out by frame, in evenly spaced frames that have any."""
    selected = {index: [face for face in faces if _is_selected(face, settings)] for index, faces in sorted(frames.items())}
    with_faces = [index for index, faces in selected.items() if faces]
    positions = evenly_spaced(len(with_faces), settings.frames or len(with_faces))
    return {with_faces[position]: selected[with_faces[position]] for position in positions}


def _is_selected(tracked: TrackedFace, settings: CropSettings) -> bool:
    x0, y0, x1, y1 = tracked.face.box
    return min(x1 - x0, y1 - y0) >= settings.min_size and (settings.people == "all" or tracked.track == 0)


def write_crops(
    video: OpenVideo, faces: dict[int, list[TrackedFace]], write: PictureWriter, settings: CropSettings
) -> list[CropRow]:
    """Write the crops, and return their rows for the ledger."""
    rows: list[CropRow] = []
    encoded: EncodedCrops = deque()
    with ThreadPoolExecutor(ENCODERS) as pool:
        for index, picture in video.frames(faces):
            for tracked, window in _windows(index, picture, faces[index], settings):
                name = f"{index}_{tracked.track}{SUFFIXES[settings.format]}"
                crop = crop_image(picture, window)
                encoded.append((name, pool.submit(encode_picture, crop, settings.format, settings.quality)))
                rows.append(CropRow(name, index, tracked.track, *window))
            while len(encoded) > 2 * ENCODERS:
                _write_first(encoded, write)
        while encoded:
            _write_first(encoded, write)
    return rows


def _windows(
    index: int, picture: Picture, faces: list[TrackedFace], settings: CropSettings
) -> Iterator[tuple[TrackedFace, Window]]:
    height, width = picture.shape[:2]
    for tracked in sorted(faces, key=lambda tracked: tracked.track):
        box = tracked.face.box
        if not is_plausible_box(box, width, height):
            raise BadBoxes(f"frame {index} has a box {list(box)} that cannot be a face in a picture of {width} x {height} px")
        yield tracked, compute_window(box, settings.margin, settings.square, width, height)


def _write_first(encoded: EncodedCrops, write: PictureWriter) -> None:
    name, content = encoded.popleft()
    write(name, content.result())


def write_masks(path: Path, rows: list[CropRow], write: PictureWriter, reading: ReadingParams) -> None:
    """Write the masks of the crops: the same windows of the mask video, which is white where the video was manipulated."""
    by_frame: dict[int, list[CropRow]] = defaultdict(list)
    for row in rows:
        by_frame[row.frame].append(row)
    written = 0
    for index, picture in read_frames(path, by_frame, reading):
        for row in by_frame[index]:
            changed = crop_image(picture, row.window)[..., 0] > WHITE
            write(mask_name(row.name), encode_picture(255 * changed.astype(np.uint8), LOSSLESS, quality=100))
            written += 1
    if written < len(rows):
        raise UnreadableVideo(f"it covers only {written} of the {len(rows)} crops", "download the mask again, or delete it")
