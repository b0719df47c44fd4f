"""Detection in one video: its frames -> the boxes of the faces in them, and who of them is who."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.params import setting
from preprocessing.boxes import Boxes
from preprocessing.face_detector import DETECTORS, DetectorSettings, Face, FaceDetector
from preprocessing.tracks import TrackSettings, track_faces
from preprocessing.video import READERS, evenly_spaced, read_frames, survey

CODE_VERSION = 1  # raised with a change of this stage's code that changes its results: all boxes are then made anew


@dataclass(frozen=True)
class Params:
    detector: str = setting("finds the faces", choices=tuple(DETECTORS), flags=("--detector-type",))
    reader: str = setting("decodes the videos", choices=tuple(READERS))
    frames: int = setting("how many to look at in each video, equidistant", low=1)
    scale_to: int = setting("px of the longer side that larger frames are shrunk to", low=64)
    thresholds: tuple[float, ...] = setting("MTCNN's, as [a,b,c]; lower ones find more", low=0, high=1)
    min_face_size: int = setting("px, in the frame as shrunk", low=12)
    batch_size: int = setting("frames the detector sees at once", low=1)
    min_track_share: float = setting("a face in fewer of the frames looked at is no person", low=0, high=1)
    max_track_gap: int = setting("frames looked at that a person may be missed in and still be the same", low=0)
    workers: int = setting("videos worked on side by side", low=1)
    device: str = setting("where the detector runs", choices=("auto", "cpu", "cuda"))
    max_failed_fraction: float = setting("of the videos; more end the stage with an error", low=0, high=1)

    def detector_settings(self) -> DetectorSettings:
        return DetectorSettings(self.detector, self.scale_to, self.thresholds, self.min_face_size)

    def track_settings(self) -> TrackSettings:
        return TrackSettings(self.min_track_share, self.max_track_gap)

    def that_matter(self) -> dict[str, Any]:
        """What the boxes depend on, and are stale without."""
        return {
            "code": CODE_VERSION,
            "reader": self.reader,
            "frames": self.frames,
            "batch_size": self.batch_size,
            **self.detector_settings().as_facts(),
            **asdict(self.track_settings()),
        }


@cache
def load_detector(settings: DetectorSettings, device: str) -> FaceDetector:
    """Once a process."""
    return DETECTORS[settings.detector](settings, device)


def find_boxes(path: Path, name: str, params: Params) -> Boxes:
    facts = survey(path, params.reader)
    looked_at, faces = [], []
    wanted = evenly_spaced(facts.frames_decoded, params.frames)
    detector = load_detector(params.detector_settings(), params.device)
    for index, found in detect_in_frames(path, wanted, detector, params):
        looked_at.append(index)
        faces.append(found)
    tracked = track_faces(looked_at, faces, params.track_settings())
    frames = {index: here for index, here in zip(looked_at, tracked, strict=True) if here}
    return Boxes(frames, name, facts, looked_at, params.detector_settings().as_facts())


def detect_in_frames(
    path: Path, indices: Sequence[int], detector: FaceDetector, params: Params
) -> Iterator[tuple[int, list[Face]]]:
    frames = read_frames(path, indices, params.reader)
    while batch := list(islice(frames, params.batch_size)):
        found = detector.detect([picture for _, picture in batch])
        yield from ((index, faces) for (index, _), faces in zip(batch, found, strict=True))
