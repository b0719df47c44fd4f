"""The boxes file: what a detector saw in one video. Written here, and read, as also the published scripts write it.

    {"video": "Deepfakes/000_003", "width": 640, "height": 480, "frame_rate": 25.0, "frames_promised": 300,
     "frames_decoded": 300, "detector": {"detector": "mtcnn", ...}, "looked_at": [9, 28, ...],
     "frames": {"9": [{"box": [x0, y0, x1, y1], "score": 0.9998, "landmarks": [[x, y], ...], "track": 0}], ...}}

Boxes are in pixels of the full picture. A frame looked at without a face has no entry. The published scripts write a
bare map of frame to boxes (or null), at half size.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.outputs import write_text
from preprocessing.face_detector import Box, Face
from preprocessing.tracks import TrackedFace
from preprocessing.video import VideoFacts

PUBLISHED_SCALE = 2  # the published detection halves each frame


class BadBoxes(Exception):
    """A boxes file that cannot be used, with its name and what is wrong."""


@dataclass(frozen=True)
class Boxes:
    frames: dict[int, list[TrackedFace]]  # only frames with faces
    video: str = ""
    facts: VideoFacts | None = None  # unknown of a published file
    looked_at: list[int] = field(default_factory=list)
    detector: dict[str, Any] = field(default_factory=dict)


def write_boxes(path: Path, boxes: Boxes) -> None:
    facts = boxes.facts
    head = {
        "video": boxes.video,
        "width": facts and facts.width,
        "height": facts and facts.height,
        "frame_rate": facts and facts.frame_rate,
        "frames_promised": facts and facts.frames_promised,
        "frames_decoded": facts and facts.frames_decoded,
        "detector": boxes.detector,
        "looked_at": boxes.looked_at,
    }
    frames = {str(index): [_plain(face) for face in faces] for index, faces in sorted(boxes.frames.items()) if faces}
    write_text(path, json.dumps({**head, "frames": frames}, allow_nan=False) + "\n")


def _plain(tracked: TrackedFace) -> dict[str, Any]:
    face = tracked.face
    return {
        "box": [round(side, 2) for side in face.box],
        "score": round(face.score, 4),
        "landmarks": [[round(x, 2), round(y, 2)] for x, y in face.landmarks],
        "track": tracked.track,
    }


def read_boxes(path: Path) -> Boxes:
    """Raises BadBoxes if there is anything in the file that is no boxes."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadBoxes(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise BadBoxes(f"{path} holds no boxes")
    try:
        return _ours(content) if "frames" in content else _published(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadBoxes(f"{path} holds a bad box or field ({type(error).__name__}: {error})") from error


def _ours(content: dict[str, Any]) -> Boxes:
    facts = VideoFacts(*(content[name] for name in ("width", "height", "frame_rate", "frames_promised", "frames_decoded")))
    frames = {int(index): [_tracked(plain) for plain in faces] for index, faces in content["frames"].items()}
    return Boxes(frames, content["video"], facts, content["looked_at"], content["detector"])


def _tracked(plain: dict[str, Any]) -> TrackedFace:
    landmarks = tuple((float(x), float(y)) for x, y in plain.get("landmarks", []))
    return TrackedFace(Face(_box(plain["box"]), float(plain["score"]), landmarks), int(plain["track"]))


def _published(content: dict[str, Any]) -> Boxes:
    """Who is who is not in these files: as the published extraction does, the place in the list tells people apart."""
    frames = {
        int(index): [TrackedFace(Face(_box(box, PUBLISHED_SCALE), 1.0, ()), place) for place, box in enumerate(boxes)]
        for index, boxes in content.items()
        if boxes
    }
    return Boxes(frames, looked_at=sorted(map(int, content)))


def _box(sides: list[float], scale: int = 1) -> Box:
    x0, y0, x1, y1 = (float(side) * scale for side in sides)
    if not all(map(math.isfinite, (x0, y0, x1, y1))) or x0 >= x1 or y0 >= y1:
        raise ValueError(f"{sides} is not x0, y0, x1, y1")
    return x0, y0, x1, y1
