"""The boxes file: what a detector saw in one video. Written here, and read, as also the published scripts write it.

    {"video": "Deepfakes/000_003", "width": 640, "height": 480, "frame_rate": 25.0, "frames_promised": 300,
     "frames_present": 300, "frames_damaged": 0, "ended_early": null, "detector": {"detector": "mtcnn", ...},
     "looked_at": [9, 28, ...],
     "frames": {"9": [{"box": [x0, y0, x1, y1], "score": 0.9998, "landmarks": [[x, y], ...], "track": 0}], ...}}

Boxes are in pixels of the full picture. A frame looked at without a face has no entry. The published scripts write a
bare map of every frame to its boxes (or null), at half size: who of them is who is then found out here.
"""

import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.outputs import atomic_write
from pipeline.project import relative
from preprocessing.faces.face import Box, Face
from preprocessing.faces.tracks import TrackedFace, TrackSettings, track_faces
from preprocessing.video.video import Account, VideoFacts

PUBLISHED_SCALE = 2  # the published detection halves each frame
PUBLISHED_TRACKS = TrackSettings(min_track_share=0, max_track_gap=12)  # every face stays; it may be missed for half a second
BEYOND_ANY_PICTURE = 100_000  # px


class BadBoxes(Exception):
    """Boxes that cannot be used: what is wrong with them."""


@dataclass(frozen=True)
class Boxes:
    frames: dict[int, list[TrackedFace]]  # only frames with faces
    video: str = ""
    facts: VideoFacts | None = None  # unknown of a published file
    looked_at: list[int] = field(default_factory=list)
    detector: dict[str, Any] = field(default_factory=dict)
    account: Account | None = None  # written, and read by nobody


def write_boxes(path: Path, boxes: Boxes) -> None:
    facts, account = boxes.facts, boxes.account
    head = {
        "video": boxes.video,
        "width": facts and facts.width,
        "height": facts and facts.height,
        "frame_rate": facts and facts.frame_rate,
        "frames_promised": facts and facts.frames_promised,
        "frames_present": facts and facts.frames_present,
        "frames_damaged": account and account.frames_damaged,
        "ended_early": account and account.ended_early,
        "detector": boxes.detector,
        "looked_at": boxes.looked_at,
    }
    # Piece by piece: of an hour, the whole text and what it is made of would take more memory than detection does.
    with atomic_write(path) as unfinished, unfinished.open("w") as file:
        file.write(_json(head)[:-1] + ', "frames": {')
        comma = ""
        for index in sorted(boxes.frames):
            file.write(f'{comma}"{index}": {_json([_plain(face) for face in boxes.frames[index]])}')
            comma = ", "
        file.write("}}\n")


def _json(content: Any) -> str:
    return json.dumps(content, allow_nan=False)


def _plain(tracked: TrackedFace) -> dict[str, Any]:
    face = tracked.face
    return {"box": face.box, "score": face.score, "landmarks": face.points(), "track": tracked.track}


def read_boxes(path: Path) -> Boxes:
    """Raises BadBoxes if there is anything in the file that is no boxes."""
    name = relative(path)
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise BadBoxes(f"{name} cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise BadBoxes(f"{name} holds no boxes")
    try:
        return _ours(content) if "frames" in content else _published(content)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadBoxes(f"{name} holds a bad box or field ({type(error).__name__}: {error})") from error


def _ours(content: dict[str, Any]) -> Boxes:
    facts = VideoFacts(*(content[name] for name in ("width", "height", "frame_rate", "frames_promised", "frames_present")))
    frames = {int(index): [_tracked(plain) for plain in faces] for index, faces in content["frames"].items()}
    for index, faces in frames.items():
        if len({tracked.track for tracked in faces}) < len(faces):
            raise ValueError(f"frame {index} has one person twice")
    return Boxes(frames, content["video"], facts, content["looked_at"], content["detector"])


def _tracked(plain: dict[str, Any]) -> TrackedFace:
    landmarks = array("d", (place for x, y in plain.get("landmarks", []) for place in (x, y)))
    return TrackedFace(Face(_box(plain["box"]), float(plain["score"]), landmarks), int(plain["track"]))


def _published(content: dict[str, Any]) -> Boxes:
    """These files know no scores and nobody's number."""
    found = {int(index): [_box(box, PUBLISHED_SCALE) for box in _flat(boxes or ())] for index, boxes in content.items()}
    seen = ((index, [Face(box, 1.0) for box in found[index]]) for index in sorted(found))
    return Boxes(track_faces(seen, PUBLISHED_TRACKS), looked_at=sorted(found))


def _flat(boxes: Sequence[Any]) -> list[Sequence[float]]:
    """Some of these files have the boxes of a frame one list deeper."""
    return [box for entry in boxes for box in (entry if isinstance(entry[0], list) else [entry])]


def _box(sides: Sequence[float], scale: int = 1) -> Box:
    x0, y0, x1, y1 = (float(side) * scale for side in sides)
    if not all(abs(side) < BEYOND_ANY_PICTURE for side in (x0, y0, x1, y1)) or x0 >= x1 or y0 >= y1:
        raise ValueError(f"{sides} is not x0, y0, x1, y1")
    return x0, y0, x1, y1
