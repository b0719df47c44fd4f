"""Segments: a long video is scored in segments, because a short fake in it would hardly change the mean over all frames."""

from dataclasses import dataclass

from explain_deepfakes.pipeline.params import setting
from explain_deepfakes.preprocessing.video.video import VideoFacts


@dataclass(frozen=True)
class SegmentParams:
    seconds: float = setting("Shortest segment of a long video that gets a verdict of its own.", low=0.1)
    frames: int = setting("Frames to sample from each segment.", low=1)
    most: int = setting("Largest number of segments; in a longer video they get longer instead.", low=1)


@dataclass(frozen=True)
class SegmentPlan:
    """The number of equal segments of a video, and the number of frames to sample from all of it."""

    segments: int
    frames: int

    def segment_of(self, frame: int, total: int) -> int:
        """The number of the segment that holds this frame of a video with `total` frames."""
        return min(self.segments - 1, frame * self.segments // total)

    def frames_of(self, segment: int, total: int) -> tuple[int, int]:
        """The first and last frame of a segment."""
        first, following = (-(-number * total // self.segments) for number in (segment, segment + 1))
        return first, following - 1


def plan_segments(facts: VideoFacts, params: SegmentParams, requested: int | None, default_frames: int) -> SegmentPlan:
    """Plan for the `requested` number of frames, or for `default_frames` and as many more as the segments need."""
    seconds = facts.frames_present / facts.frame_rate if facts.frame_rate else 0
    segments = min(params.most, max(1, int(seconds / params.seconds)))
    if requested:
        segments = min(segments, max(1, requested // params.frames))
    return SegmentPlan(segments, requested or max(default_frames, segments * params.frames))


def format_time_range(first: int, last: int, frame_rate: float | None) -> str:
    """The time range of a segment in the format of a video player, or its frames if there is no frame rate."""
    if not frame_rate:
        return f"from frame {first} to {last}"
    return f"from {_format_time(first / frame_rate)} to {_format_time((last + 1) / frame_rate)}"


def _format_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
