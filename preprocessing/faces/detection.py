"""Detection in one video: its frames -> the boxes of the faces in them, and who of them is who."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from typing import Any

from pipeline.params import setting
from preprocessing.faces.boxes import Boxes
from preprocessing.faces.face import Face
from preprocessing.faces.face_detector import DETECTORS, DetectorSettings, FaceDetector
from preprocessing.faces.following import FollowSettings, follow
from preprocessing.faces.ray_detector import distant
from preprocessing.faces.tracks import TrackSettings, track_faces
from preprocessing.video.sampling import evenly_spaced
from preprocessing.video.video import FETCH_AGAIN, OpenVideo, UnreadableVideo, VideoFacts, shrunk_size

CODE_VERSION = 3  # raised with a change of this stage's code that changes its results: all boxes are then made anew


@dataclass(frozen=True)
class DetectionSettings:
    """All that decides which faces are found in a video and who of them is who; a checkpoint carries it."""

    detector: str = setting("finds the faces", choices=tuple(DETECTORS), flags=("--detector-type",))
    frames: int = setting("how many to look at in each video, equidistant", low=1)
    every_frame: bool = setting("look at every frame instead")
    search_every: int = setting("of every frame, how many apart whole ones are searched; faces are followed between", low=1)
    search_every_spaced: int = setting("the same, of equidistant frames", low=1)
    least_span: int = setting("where people come and go, whole searches are at least so many frames apart", low=1)
    min_face_size: int = setting("px of the video's own picture; smaller faces are not looked for", low=12)
    scale_to: int = setting("px of the longer side that larger pictures are shrunk to, whatever is lost by it", low=64)
    thresholds: tuple[float, ...] = setting("MTCNN's, as [a,b,c]; lower ones find more", low=0, high=1)
    min_track_share: float = setting("a face in fewer of the frames looked at is no person", low=0, high=1)
    max_track_gap: int = setting("frames looked at that a person may be missed in and still be the same", low=0)

    def detector_settings(self) -> DetectorSettings:
        return DetectorSettings(self.detector, self.min_face_size, self.scale_to, self.thresholds)

    def follow_settings(self, threads: int) -> FollowSettings:
        return FollowSettings(self.search_every if self.every_frame else self.search_every_spaced, self.least_span, threads)

    def track_settings(self, facts: VideoFacts) -> TrackSettings:
        half_a_second = round((facts.frame_rate or 0) / 2) if self.every_frame else 0
        return TrackSettings(self.min_track_share, max(self.max_track_gap, half_a_second))


@dataclass(frozen=True)
class Params(DetectionSettings):
    workers: int = setting("videos worked on side by side", low=1)
    threads: int = setting("pictures of a video searched side by side; what is found does not depend on it", low=1)
    device: str = setting("where the detector runs", choices=("auto", "cpu", "cuda"))
    max_failed_fraction: float = setting("of the videos; more end the stage with an error", low=0, high=1)

    def settings(self) -> DetectionSettings:
        return DetectionSettings(**{field.name: getattr(self, field.name) for field in fields(DetectionSettings)})

    def that_matter(self) -> dict[str, Any]:
        """What the boxes depend on, and are stale without."""
        return {**asdict(self.settings()), "code": CODE_VERSION}


@cache
def load_detector(settings: DetectorSettings, device: str) -> FaceDetector:
    """Once a process."""
    return distant(device) or DETECTORS[settings.detector](settings, device)


def find_boxes(video: OpenVideo, name: str, params: Params, look: Callable[[int], object] = lambda _: None) -> Boxes:
    """The frames that are looked at may be had of the video again, as crops are, without decoding them once more.

    `look` is told how many of them are done.
    """
    detector, facts = load_detector(params.detector_settings(), params.device), video.facts
    wanted = None if params.every_frame else evenly_spaced(facts.frames_present, params.frames)
    side = longest_side(facts, detector, params)
    width, height = shrunk_size(facts.width, facts.height, side)
    frames = video.frames(wanted, side, again=not params.every_frame)
    looked_at: list[int] = []

    def seen() -> Iterator[tuple[int, list[Face]]]:
        for index, faces in follow(frames, detector, params.follow_settings(params.threads)):
            looked_at.append(index)
            look(len(looked_at))
            yield index, [in_full_picture(face, facts.width / width, facts.height / height) for face in faces]

    people = track_faces(seen(), params.track_settings(facts))
    if not looked_at:
        raise UnreadableVideo("no frame of it decodes", FETCH_AGAIN)
    return Boxes(people, name, facts, looked_at, params.detector_settings().as_facts(), video.account)


def in_full_picture(face: Face, across: float, down: float) -> Face:
    """Rounded here, so that a box is the same to who takes it from here and to who reads it from a file."""
    full = face.mapped(lambda x: round(x * across, 2), lambda y: round(y * down, 2))
    return replace(full, score=round(face.score, 4))


def longest_side(facts: VideoFacts, detector: FaceDetector, settings: DetectionSettings) -> int:
    """Of the pictures that the detector sees: no more pixels than the smallest face asks for."""
    side = max(facts.width, facts.height)
    return min(side, settings.scale_to, max(1, round(side * detector.smallest_px / settings.min_face_size)))
