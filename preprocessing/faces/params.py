"""Settings of face detection and tracking. Importing this module loads no library."""

from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING

from explain_deepfakes.pipeline.cpus import available_cpus
from explain_deepfakes.pipeline.params import setting
from explain_deepfakes.preprocessing.faces.face_detector import DETECTORS, FaceDetectorSettings

if TYPE_CHECKING:
    from explain_deepfakes.preprocessing.video.video import VideoFacts


@dataclass(frozen=True)
class TrackSettings:
    min_track_share: float  # of the analysed frames; a detection counts as its score. SUFFICIENT_DETECTIONS overrides it
    max_track_gap: int  # analysed frames in a row that a track may miss


@dataclass(frozen=True)
class FollowSettings:
    search_every: int  # full detection every this many frames
    min_span: int  # minimum distance between full detections where people enter or leave, in frames
    threads: int  # does not affect the result


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

    def track_settings(self, facts: "VideoFacts") -> TrackSettings:
        half_a_second = round((facts.frame_rate or 0) / 2) if self.every_frame else 0
        return TrackSettings(self.min_track_share, max(self.max_track_gap, half_a_second))


@dataclass(frozen=True)
class DetectionParams(DetectionSettings):
    workers: int = setting("videos processed in parallel", low=1, auto=available_cpus)
    threads: int = setting("CPU threads of all workers together; the result does not depend on it", low=1, auto=available_cpus)
    device: str = setting("device of the face detector", choices=("auto", "cpu", "cuda"))
    max_failed_fraction: float = setting("fail the stage if a larger fraction of the videos fails", low=0, high=1)

    def in_worker(self, device: str) -> "DetectionParams":
        """The settings of each worker: the workers share the threads."""
        return replace(self, threads=max(1, self.threads // self.workers), device=device)

    def detection_settings(self) -> DetectionSettings:
        return DetectionSettings(**{field.name: getattr(self, field.name) for field in fields(DetectionSettings)})

    def recorded_settings(self) -> dict[str, dict[str, object]]:
        return {"detect_faces": asdict(self.detection_settings())}

    def relevant_params(self) -> dict[str, object]:
        """What the boxes depend on: if any of it changes, they are stale."""
        return {**asdict(self.detection_settings()), "code": CODE_VERSION}
