"""The boxes file: the faces detected in one video. Reads also the format of the published scripts.

    {"video": "Deepfakes/000_003", "width": 640, "height": 480, "frame_rate": 25.0, "frames_promised": 300,
     "frames_present": 300, "frames_damaged": 0, "ended_early": null, "detector": {"detector": "mtcnn", ...},
     "looked_at": [9, 28, ...],
     "frames": {"9": [{"box": [x0, y0, x1, y1], "score": 0.9998, "landmarks": [[x, y], ...], "track": 0}], ...}}

`looked_at` lists the analysed frames; `frames` has those with faces only. Boxes are in pixels of the original frame.
The published scripts write a plain mapping from each frame to its boxes (or null) at half size; their tracks are computed here.
"""

import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from explain_deepfakes.pipeline.outputs import atomic_write
from explain_deepfakes.pipeline.project import relative
from explain_deepfakes.preprocessing.faces.face import Box, Face
from explain_deepfakes.preprocessing.faces.face_detector import FaceDetectorRecord
from explain_deepfakes.preprocessing.faces.params import TrackSettings
from explain_deepfakes.preprocessing.faces.tracks import TrackedFace, track_faces
from explain_deepfakes.preprocessing.video.video import DecodingStats, VideoFacts

PUBLISHED_SCALE = 2  # the published detection halves each frame
PUBLISHED_TRACKS = TrackSettings(min_track_share=0, max_track_gap=12)  # keeps every face; a gap may last half a second
MAX_COORDINATE = 100_000  # px; larger than any frame


class BadBoxes(Exception):
    """Boxes that cannot be used. The message says why."""


class FaceRecord(TypedDict):
    """A face in a boxes file."""

    box: Box
    score: float
    landmarks: list[tuple[float, float]]
    track: int


@dataclass(frozen=True)
class Boxes:
    frames: dict[int, list[TrackedFace]]  # only frames with faces
    video: str = ""
    facts: VideoFacts | None = None  # None for a published file
    analysed_frames: list[int] = field(default_factory=list)
    detector: FaceDetectorRecord = field(default_factory=FaceDetectorRecord)
    stats: DecodingStats | None = None  # for information only: written, but not read


def write_boxes(path: Path, boxes: Boxes) -> None:
    facts, stats = boxes.facts, boxes.stats
    header = {
        "video": boxes.video,
        "width": facts and facts.width,
        "height": facts and facts.height,
        "frame_rate": facts and facts.frame_rate,
        "frames_promised": facts and facts.frames_promised,
        "frames_present": facts and facts.frames_present,
        "frames_damaged": stats and stats.frames_damaged,
        "ended_early": stats and stats.ended_early,
        "detector": boxes.detector,
        "looked_at": boxes.analysed_frames,
    }
    # Written frame by frame: for a video of an hour, the complete text would take more memory than the detection.
    with atomic_write(path) as unfinished, unfinished.open("w") as file:
        file.write(_to_json(header)[:-1] + ', "frames": {')
        comma = ""
        for index in sorted(boxes.frames):
            file.write(f'{comma}"{index}": {_to_json([_to_record(face) for face in boxes.frames[index]])}')
            comma = ", "
        file.write("}}\n")


def _to_json(content: object) -> str:
    return json.dumps(content, allow_nan=False)


def _to_record(tracked: TrackedFace) -> FaceRecord:
    face = tracked.face
    return {"box": face.box, "score": face.score, "landmarks": face.points(), "track": tracked.track}


def read_boxes(path: Path) -> Boxes:
    """Read a boxes file of either format. Raises BadBoxes if any of its content is invalid."""
    name = relative(path)
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise BadBoxes(f"{name} cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise BadBoxes(f"{name} is not a boxes file: its content must be a JSON object")
    try:
        return _parse(content) if "frames" in content else _parse_published(content)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadBoxes(f"{name} has an invalid box or field ({type(error).__name__}: {error})") from error


def _parse(content: dict[str, Any]) -> Boxes:
    facts = VideoFacts(*(content[name] for name in ("width", "height", "frame_rate", "frames_promised", "frames_present")))
    frames = {int(index): [_parse_face(record) for record in records] for index, records in content["frames"].items()}
    for index, faces in frames.items():
        if len({tracked.track for tracked in faces}) < len(faces):
            raise ValueError(f"frame {index} has two faces of the same track")
    return Boxes(frames, content["video"], facts, content["looked_at"], content["detector"])


def _parse_face(record: FaceRecord) -> TrackedFace:
    landmarks = array("d", (coordinate for x, y in record.get("landmarks", []) for coordinate in (x, y)))
    return TrackedFace(Face(_parse_box(record["box"]), float(record["score"]), landmarks), int(record["track"]))


def _parse_published(content: dict[str, Any]) -> Boxes:
    """The published format has neither scores nor tracks."""
    boxes = {
        int(index): [_parse_box(box, PUBLISHED_SCALE) for box in _flatten(frame_boxes or ())]
        for index, frame_boxes in content.items()
    }
    detections = ((index, [Face(box, 1.0) for box in boxes[index]]) for index in sorted(boxes))
    return Boxes(track_faces(detections, PUBLISHED_TRACKS), analysed_frames=sorted(boxes))


def _flatten(boxes: Sequence[Any]) -> list[Sequence[float]]:
    """Some published files nest the boxes of a frame in a further list."""
    return [box for entry in boxes for box in (entry if isinstance(entry[0], list) else [entry])]


def _parse_box(sides: Sequence[float], scale: int = 1) -> Box:
    x0, y0, x1, y1 = (float(side) * scale for side in sides)
    if not all(abs(side) < MAX_COORDINATE for side in (x0, y0, x1, y1)) or x0 >= x1 or y0 >= y1:
        raise ValueError(f"{sides} is not a box x0, y0, x1, y1")
    return x0, y0, x1, y1
