"""Extraction of the face crops of one video from its frames and face boxes."""

from collections import defaultdict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from explain_deepfakes.preprocessing.crops.alignment import align_window
from explain_deepfakes.preprocessing.crops.crops import CropRow, Window, compute_window, crop_image, is_plausible_box
from explain_deepfakes.preprocessing.crops.params import LOSSLESS, NOT_ALIGNED, SUFFIXES, CropSettings
from explain_deepfakes.preprocessing.crops.stores import WHITE, PictureWriter, encode_picture, mask_name
from explain_deepfakes.preprocessing.faces.boxes import BadBoxes
from explain_deepfakes.preprocessing.faces.face import Face
from explain_deepfakes.preprocessing.faces.tracks import TrackedFace
from explain_deepfakes.preprocessing.video.params import ReadingParams
from explain_deepfakes.preprocessing.video.sampling import evenly_spaced
from explain_deepfakes.preprocessing.video.video import OpenVideo, Picture, UnreadableVideo, read_frames

ENCODERS = 2  # crops that are encoded in parallel
LANDMARKS = 5

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
            for tracked in sorted(faces[index], key=lambda tracked: tracked.track):
                check_box(tracked.face, picture, f"frame {index}")
                window = face_window(tracked.face, picture, settings, f"frame {index}")
                name = f"{index}_{tracked.track}{SUFFIXES[settings.format]}"
                crop = crop_image(picture, window)
                encoded.append((name, pool.submit(encode_picture, crop, settings.format, settings.quality)))
                rows.append(CropRow(name, index, tracked.track, *window))
            while len(encoded) > 2 * ENCODERS:
                _write_first(encoded, write)
        while encoded:
            _write_first(encoded, write)
    return rows


def check_box(face: Face, picture: Picture, where: str) -> None:
    height, width = picture.shape[:2]
    if not is_plausible_box(face.box, width, height):
        raise BadBoxes(f"{where} has a box {list(face.box)} that cannot be a face in a picture of {width} x {height} px")


def face_window(face: Face, picture: Picture, settings: CropSettings, where: str) -> Window:
    """Return the window of a face. Error messages call the picture `where`."""
    height, width = picture.shape[:2]
    if settings.align == NOT_ALIGNED:
        return compute_window(face.box, settings.margin, settings.square, width, height)
    if len(points := face.points()) != LANDMARKS:
        raise BadBoxes(f"{where} has a face without the {LANDMARKS} landmarks that 'align: {settings.align}' needs")
    return align_window(points, settings.align, settings.scale, settings.size)


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
