"""List the portraits of a folder and detect the face in each of them."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.preprocessing.corpus.layouts.tree import IMAGE_SUFFIXES, walk_files
from explain_deepfakes.preprocessing.portrait_corpus.landmarks import FACE_BOTTOM, FACE_TOP, FaceAlignment

PROVENANCE = "provenance.csv"
COLUMNS = ("file", "person", "source", "licence", "credit", "sha256")
THRESHOLDS = (0.7, 0.8, 0.9)  # of MTCNN; strict, because a portrait shows a large face
SECOND_FACE_SHARE = 0.55  # a second face of at least this fraction of the largest one's height makes the picture ambiguous


@dataclass(frozen=True)
class Portrait:
    """A picture file and its provenance."""

    file: str  # relative to the folder
    person: str
    source: str
    licence: str
    credit: str
    content: str  # hash of the file's bytes


class FaceFacts(TypedDict):
    """Ledger fields of a usable portrait."""

    points: list[float]  # the five landmarks
    size: list[int]  # width, height
    skin: list[float]  # CIE Lab


class FailureFacts(TypedDict):
    """Ledger fields of an unusable portrait, and a row of failures.csv."""

    file: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class UnusablePortrait:
    """A picture that cannot be used, why, and what to do about it."""

    file: str
    reason: str
    remedy: str

    def as_facts(self) -> FailureFacts:
        return {"file": self.file, "reason": self.reason, "remedy": self.remedy}


def list_portraits(folder: Path) -> tuple[list[Portrait], list[UnusablePortrait]]:
    """The pictures below the folder, sorted, and those that provenance.csv excludes."""
    if not folder.is_dir():
        raise UserError(f"make_portrait_videos.portraits is {folder}, which is not a folder; name the folder of the portraits")
    files = sorted(path for path in walk_files(folder) if path.suffix.lower() in IMAGE_SUFFIXES)
    names = [path.relative_to(folder).as_posix() for path in files]
    if not names:
        raise UserError(f"{folder} has no pictures in it or below it; name the folder of the portraits")
    if not (folder / PROVENANCE).is_file():
        return [_portrait_without_provenance(folder, name) for name in names], []
    rows = _read_provenance(folder / PROVENANCE)
    listed = [_check_portrait(folder, rows[name]) for name in names if name in rows]
    portraits = [item for item in listed if isinstance(item, Portrait)]
    failures = [item for item in listed if isinstance(item, UnusablePortrait)]
    missing = sorted(set(rows) - set(names))
    failures += [
        UnusablePortrait(name, "it is listed, but the file does not exist", "restore the file, or remove its row")
        for name in missing
    ]
    unknown = [name for name in names if name not in rows]
    failures += [
        UnusablePortrait(name, f"{PROVENANCE} does not list it", "add a row for it, or remove the file") for name in unknown
    ]
    return portraits, failures


def _portrait_without_provenance(folder: Path, name: str) -> Portrait:
    """Without provenance.csv, each file is a different person, and its folder is the source."""
    person, source = name.rpartition(".")[0], name.rpartition("/")[0]
    return Portrait(name, person, source or folder.name, "", "", content_hash(folder / name))


def _check_portrait(folder: Path, row: dict[str, str]) -> Portrait | UnusablePortrait:
    content = content_hash(folder / row["file"])
    if row["sha256"] and row["sha256"].lower() != content:
        return UnusablePortrait(
            row["file"], f"its hash differs from the one in {PROVENANCE}", "download it again, or correct its row"
        )
    return Portrait(row["file"], row["person"], row["source"], row["licence"], row["credit"], content)


def _read_provenance(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if missing_columns := [column for column in COLUMNS if column not in (reader.fieldnames or ())]:
            raise UserError(f"{path} has no column {', '.join(missing_columns)}; its columns must be {','.join(COLUMNS)}")
        rows = [{column: row[column] or "" for column in COLUMNS} for row in reader]
    for number, row in enumerate(rows, start=2):
        if not row["file"] or not row["person"]:
            raise UserError(f"{path}, line {number}: file and person must not be empty")
    if len({row["file"] for row in rows}) != len(rows):
        raise UserError(f"{path} lists a file twice; keep one row for each file")
    return {row["file"]: row for row in rows}


def read_picture(path: Path) -> NDArray[np.uint8] | None:
    """Read a picture as upright RGB; None if it cannot be decoded."""
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
    return None if picture is None else np.ascontiguousarray(picture[..., ::-1])


class PortraitDetector:
    """Detects the face of a portrait: its landmarks and skin colour."""

    def __init__(self, folder: Path, min_face_px: int) -> None:
        from explain_deepfakes.preprocessing.faces.mtcnn import (
            MtcnnDetector,  # imports PyTorch, which takes seconds and rendering does not need
        )

        self.folder, self.min_face_px = folder, min_face_px
        self.detector = MtcnnDetector(THRESHOLDS, "cpu")

    def find_face(self, file: str) -> FaceFacts | FailureFacts:
        picture = read_picture(self.folder / file)
        if picture is None:
            return UnusablePortrait(file, "it cannot be read as a picture", "replace the file, or remove it").as_facts()
        faces = sorted(self.detector.detect([picture])[0], key=lambda face: face.box[1] - face.box[3])
        heights = [face.box[3] - face.box[1] for face in faces]
        if not faces:
            return UnusablePortrait(file, "no face was found in it", "remove it, or crop it closer to the face").as_facts()
        if heights[0] < self.min_face_px:
            reason = f"its face is {heights[0]:.0f} px high, less than min_face_px ({self.min_face_px})"
            return UnusablePortrait(file, reason, "use a larger picture, or lower min_face_px").as_facts()
        if len(heights) > 1 and heights[1] > SECOND_FACE_SHARE * heights[0]:
            return UnusablePortrait(file, "more than one face was found in it", "crop it to one person").as_facts()
        alignment = FaceAlignment.of(faces[0].landmarks)
        if not alignment.is_usable():
            return UnusablePortrait(
                file, "the face is turned too far to the side", "use a picture that shows the face from the front"
            ).as_facts()
        points = [round(value, 3) for value in faces[0].landmarks]
        return {"points": points, "size": [picture.shape[1], picture.shape[0]], "skin": _skin_of(picture, alignment)}


def _skin_of(picture: NDArray[np.uint8], alignment: FaceAlignment) -> list[float]:
    """Median colour of the cheeks and the nose, in CIE Lab."""
    x, y = np.meshgrid(np.linspace(-0.55, 0.55, 23), np.linspace(0.35, 0.75, 9))
    points = alignment.to_picture(np.stack([x, y], -1).reshape(-1, 2).astype(np.float32))
    columns, rows = points.round().astype(int).T
    skin = picture[rows.clip(0, picture.shape[0] - 1), columns.clip(0, picture.shape[1] - 1)]
    lab = cv2.cvtColor(skin[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
    return [round(float(value), 2) for value in np.median(lab, 0)]


def face_height_px(alignment: FaceAlignment) -> float:
    """Height of the face box in pixels."""
    return float(np.hypot(*alignment.matrix[:, 1])) * (FACE_BOTTOM - FACE_TOP)


cached_detector = cache(PortraitDetector)  # one per process


def detect_task(task: tuple[Path, int, Portrait]) -> tuple[Portrait, FaceFacts | FailureFacts]:
    folder, min_face_px, portrait = task
    return portrait, cached_detector(folder, min_face_px).find_face(portrait.file)


def group_by_person(portraits: Sequence[Portrait]) -> Iterator[tuple[str, list[Portrait]]]:
    """Each person with their portraits, both sorted."""
    portraits_of: dict[str, list[Portrait]] = {}
    for portrait in sorted(portraits, key=lambda portrait: portrait.file):
        portraits_of.setdefault(portrait.person, []).append(portrait)
    yield from sorted(portraits_of.items())
