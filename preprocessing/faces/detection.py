"""Face detection in one video: its frames -> face boxes with tracks."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from functools import cache

from explain_deepfakes.pipeline.params import setting
from explain_deepfakes.preprocessing.faces.boxes import Boxes
from explain_deepfakes.preprocessing.faces.face import Face
from explain_deepfakes.preprocessing.faces.face_detector import DETECTORS, FaceDetector, FaceDetectorSettings
from explain_deepfakes.preprocessing.faces.following import FollowSettings, follow_faces
from explain_deepfakes.preprocessing.faces.ray_detector import connect_ray_detector
from explain_deepfakes.preprocessing.faces.tracks import TrackSettings, track_faces
from explain_deepfakes.preprocessing.video.sampling import evenly_spaced
from explain_deepfakes.preprocessing.video.video import REPLACE_FILE, OpenVideo, UnreadableVideo, VideoFacts, shrunk_size

CODE_VERSION = 3  # increase it with any change of this code that changes results: all boxes are then recomputed


@dataclass(frozen=True)
class DetectionSettings:
    """All settings that influence which faces are detected in a video and how they are tracked; stored in checkpoints."""

    detector: str = setting("face detector", choices=tuple(DETECTORS), flags=("--detector-type",))
    frames: int = setting("frames analysed per video, evenly spaced", low=1)
    every_frame: bool = setting("analyse every frame; overrides --frames")
    search_every: int = setting("with --every_frame: full detection every N frames; faces are tracked in between", low=1)
    search_every_spaced: int = setting("without --every_frame: full detection in every N-th analysed frame", low=1)
    least_span: int = setting("minimum distance between two full detections where people enter or leave, in frames", low=1)
    min_face_size: int = setting("smallest face to detect, in pixels of the original frame", low=12)
    scale_to: int = setting("downscale larger frames to this longest side before detection; small faces may be missed", low=64)
    thresholds: tuple[float, ...] = setting(
        "score thresholds of the three MTCNN networks, as [a,b,c]; lower ones detect more", low=0, high=1
    )
    min_track_share: float = setting("drop tracks that are visible in a smaller share of the analysed frames", low=0, high=1)
    max_track_gap: int = setting("longest gap in a track, in analysed frames", low=0)

    def face_detector_settings(self) -> FaceDetectorSettings:
        return FaceDetectorSettings(self.detector, self.min_face_size, self.scale_to, self.thresholds)

    def follow_settings(self, threads: int) -> FollowSettings:
        return FollowSettings(self.search_every if self.every_frame else self.search_every_spaced, self.least_span, threads)

    def track_settings(self, facts: VideoFacts) -> TrackSettings:
        half_a_second = round((facts.frame_rate or 0) / 2) if self.every_frame else 0
        return TrackSettings(self.min_track_share, max(self.max_track_gap, half_a_second))


@dataclass(frozen=True)
class DetectionParams(DetectionSettings):
    workers: int = setting("videos processed in parallel", low=1)
    threads: int = setting("frames of one video processed in parallel; the result does not depend on it", low=1)
    device: str = setting("device of the face detector", choices=("auto", "cpu", "cuda"))
    max_failed_fraction: float = setting("fail the stage if a larger fraction of the videos fails", low=0, high=1)

    def detection_settings(self) -> DetectionSettings:
        return DetectionSettings(**{field.name: getattr(self, field.name) for field in fields(DetectionSettings)})

    def relevant_params(self) -> dict[str, object]:
        """What the boxes depend on: if any of it changes, they are stale."""
        return {**asdict(self.detection_settings()), "code": CODE_VERSION}


@cache
def load_detector(settings: FaceDetectorSettings, device: str) -> FaceDetector:
    """Load a face detector, once per process."""
    return connect_ray_detector(device) or DETECTORS[settings.detector](settings, device)


def find_boxes(
    video: OpenVideo, name: str, params: DetectionParams, on_frame: Callable[[int], object] = lambda _: None
) -> Boxes:
    """Detect and track the faces of a video.

    Unless every frame is analysed, the decoded frames are kept, so that crops can be made without decoding them again.
    `on_frame` is called after each frame with the number of frames analysed so far.
    """
    detector, facts = load_detector(params.face_detector_settings(), params.device), video.facts
    indices = None if params.every_frame else evenly_spaced(facts.frames_present, params.frames)
    side = longest_side(facts, detector, params)
    width, height = shrunk_size(facts.width, facts.height, side)
    frames = video.frames(indices, side, keep_decoded=not params.every_frame)
    analysed_frames: list[int] = []

    def detections() -> Iterator[tuple[int, list[Face]]]:
        for index, faces in follow_faces(frames, detector, params.follow_settings(params.threads)):
            analysed_frames.append(index)
            on_frame(len(analysed_frames))
            yield index, [to_original_frame(face, facts.width / width, facts.height / height) for face in faces]

    tracked = track_faces(detections(), params.track_settings(facts))
    if not analysed_frames:
        raise UnreadableVideo("no frame of it can be decoded", REPLACE_FILE)
    return Boxes(tracked, name, facts, analysed_frames, params.face_detector_settings().as_record(), video.stats)


def to_original_frame(face: Face, x_scale: float, y_scale: float) -> Face:
    """Scale a face to the original frame. Rounded, so that a box read from a file equals the box returned here."""
    scaled = face.transform(lambda x: round(x * x_scale, 2), lambda y: round(y * y_scale, 2))
    return replace(scaled, score=round(face.score, 4))


def longest_side(facts: VideoFacts, detector: FaceDetector, settings: DetectionSettings) -> int:
    """Longest side of the pictures passed to the detector: no larger than the smallest face requires."""
    side = max(facts.width, facts.height)
    return min(side, settings.scale_to, max(1, round(side * detector.smallest_px / settings.min_face_size)))
