"""A folder of portraits -> who is on each picture, and where the face lies in it."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.ledger import content_hash
from preprocessing.corpus.layouts.tree import IMAGE_SUFFIXES, files_below
from preprocessing.portrait_corpus.landmarks import FACE_BOTTOM, FACE_TOP, FaceFrame

PROVENANCE = "provenance.csv"
COLUMNS = ("file", "person", "source", "licence", "credit", "sha256")
THRESHOLDS = (0.7, 0.8, 0.9)  # of MTCNN; a portrait has a large face, so a doubtful one is none
SECOND_FACE = 0.55  # a face of this share of the largest one's height makes the picture one of two people


@dataclass(frozen=True)
class Portrait:
    file: str  # relative to the folder
    person: str
    source: str
    licence: str
    credit: str
    content: str  # hash of the file's bytes


@dataclass(frozen=True)
class Failure:
    """A picture that nothing is made of."""

    file: str
    reason: str
    remedy: str

    def as_facts(self) -> dict[str, str]:
        return {"file": self.file, "reason": self.reason, "remedy": self.remedy}


def list_portraits(folder: Path) -> tuple[list[Portrait], list[Failure]]:
    """All pictures below the folder, sorted, and those that the provenance rules out."""
    if not folder.is_dir():
        raise UserError(f"make_portrait_videos.portraits is {folder}, which is not a folder; name the folder of the portraits")
    files = sorted(path for path in files_below(folder) if path.suffix.lower() in IMAGE_SUFFIXES)
    names = [path.relative_to(folder).as_posix() for path in files]
    if not names:
        raise UserError(f"{folder} has no pictures in it or below it; name the folder of the portraits")
    if not (folder / PROVENANCE).is_file():
        return [_unlisted(folder, name) for name in names], []
    rows = _read_provenance(folder / PROVENANCE)
    listed = [_listed(folder, rows[name]) for name in names if name in rows]
    portraits = [one for one in listed if isinstance(one, Portrait)]
    failures = [one for one in listed if isinstance(one, Failure)]
    missing = sorted(set(rows) - set(names))
    failures += [Failure(name, "it is listed but not there", "put the file back, or remove its row") for name in missing]
    unknown = [name for name in names if name not in rows]
    failures += [Failure(name, f"{PROVENANCE} does not list it", "add a row for it, or remove the file") for name in unknown]
    return portraits, failures


def _unlisted(folder: Path, name: str) -> Portrait:
    """Each file is a person of its own, and its folder the source."""
    person, source = name.rpartition(".")[0], name.rpartition("/")[0]
    return Portrait(name, person, source or folder.name, "", "", content_hash(folder / name))


def _listed(folder: Path, row: dict[str, str]) -> Portrait | Failure:
    content = content_hash(folder / row["file"])
    if row["sha256"] and row["sha256"].lower() != content:
        return Failure(row["file"], f"it is not the file whose hash {PROVENANCE} has", "fetch it again, or correct its row")
    return Portrait(row["file"], row["person"], row["source"], row["licence"], row["credit"], content)


def _read_provenance(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if lacking := [column for column in COLUMNS if column not in (reader.fieldnames or ())]:
            raise UserError(f"{path} has no column {', '.join(lacking)}; its columns must be {','.join(COLUMNS)}")
        rows = [{column: row[column] or "" for column in COLUMNS} for row in reader]
    for number, row in enumerate(rows, start=2):
        if not row["file"] or not row["person"]:
            raise UserError(f"{path}, line {number}: file and person must not be empty")
    if len({row["file"] for row in rows}) != len(rows):
        raise UserError(f"{path} lists a file twice; keep one row for each file")
    return {row["file"]: row for row in rows}


def read_picture(path: Path) -> NDArray[np.uint8] | None:
    """RGB, upright; None if it is none."""
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
    return None if picture is None else np.ascontiguousarray(picture[..., ::-1])


class PortraitDetector:
    """Of each portrait what the plan needs to know: the landmarks, the size and the colour of the skin."""

    def __init__(self, folder: Path, min_face_px: int) -> None:
        from preprocessing.faces.mtcnn import MtcnnDetector  # PyTorch takes seconds to import, and rendering needs none

        self.folder, self.min_face_px = folder, min_face_px
        self.detector = MtcnnDetector(THRESHOLDS, "cpu")

    def facts(self, file: str) -> dict[str, Any]:
        picture = read_picture(self.folder / file)
        if picture is None:
            return Failure(file, "it cannot be read as a picture", "replace the file, or remove it").as_facts()
        found = sorted(self.detector.detect([picture])[0], key=lambda face: face.box[1] - face.box[3])
        heights = [face.box[3] - face.box[1] for face in found]
        if not found:
            return Failure(file, "no face was found in it", "remove it, or crop it closer to the face").as_facts()
        if heights[0] < self.min_face_px:
            reason = f"its face is {heights[0]:.0f} px high, less than min_face_px ({self.min_face_px})"
            return Failure(file, reason, "use a larger picture, or lower min_face_px").as_facts()
        if len(heights) > 1 and heights[1] > SECOND_FACE * heights[0]:
            return Failure(file, "more than one face was found in it", "crop it to one person").as_facts()
        frame = FaceFrame.of(found[0].landmarks)
        if not frame.is_usable():
            return Failure(file, "the face looks too far aside", "use a picture that shows the face from the front").as_facts()
        points = [round(value, 3) for value in found[0].landmarks]
        return {"points": points, "size": [picture.shape[1], picture.shape[0]], "skin": _skin_of(picture, frame)}


def _skin_of(picture: NDArray[np.uint8], frame: FaceFrame) -> list[float]:
    """Median colour of the cheeks and the nose, in CIE Lab."""
    x, y = np.meshgrid(np.linspace(-0.55, 0.55, 23), np.linspace(0.35, 0.75, 9))
    where = frame.to_picture(np.stack([x, y], -1).reshape(-1, 2).astype(np.float32))
    columns, rows = where.round().astype(int).T
    skin = picture[rows.clip(0, picture.shape[0] - 1), columns.clip(0, picture.shape[1] - 1)]
    lab = cv2.cvtColor(skin[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
    return [round(float(value), 2) for value in np.median(lab, 0)]


def face_height_px(frame: FaceFrame) -> float:
    return float(np.hypot(*frame.matrix[:, 1])) * (FACE_BOTTOM - FACE_TOP)


detector_of = cache(PortraitDetector)  # one in each process


def detect_task(task: tuple[Path, int, Portrait]) -> tuple[Portrait, dict[str, Any]]:
    folder, min_face_px, portrait = task
    return portrait, detector_of(folder, min_face_px).facts(portrait.file)


def people_of(portraits: Sequence[Portrait]) -> Iterator[tuple[str, list[Portrait]]]:
    """Each person with their pictures, both sorted."""
    pictures: dict[str, list[Portrait]] = {}
    for portrait in sorted(portraits, key=lambda one: one.file):
        pictures.setdefault(portrait.person, []).append(portrait)
    yield from sorted(pictures.items())
