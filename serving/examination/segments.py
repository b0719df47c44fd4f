"""Segments: a long video is scored part by part, since a short fake in it would hardly move the mean over the whole."""

from dataclasses import dataclass

from pipeline.params import setting
from preprocessing.video.video import VideoFacts


@dataclass(frozen=True)
class SegmentSettings:
    seconds: float = setting("Shortest segment of a long video that gets a verdict of its own.", low=0.1)
    frames: int = setting("Frames to look at in each segment.", low=1)
    most: int = setting("Largest number of segments; in a longer video they get longer instead.", low=1)


@dataclass(frozen=True)
class SegmentPlan:
    """How many equal segments a video has, and how many of its frames to look at."""

    segments: int
    frames: int

    def segment_of(self, frame: int, total: int) -> int:
        return min(self.segments - 1, frame * self.segments // total)

    def frames_of(self, segment: int, total: int) -> tuple[int, int]:
        """First and last frame of a segment."""
        first, following = (-(-number * total // self.segments) for number in (segment, segment + 1))
        return first, following - 1


def plan_segments(facts: VideoFacts, settings: SegmentSettings, requested: int | None, usual: int) -> SegmentPlan:
    """`requested` frames, or the `usual` number and as many more as the segments need."""
    seconds = facts.frames_present / facts.frame_rate if facts.frame_rate else 0
    segments = min(settings.most, max(1, int(seconds / settings.seconds)))
    if requested:
        segments = min(segments, max(1, requested // settings.frames))
    return SegmentPlan(segments, requested or max(usual, segments * settings.frames))


def in_words(first: int, last: int, frame_rate: float | None) -> str:
    """Where a segment lies, as a player shows it."""
    if not frame_rate:
        return f"from frame {first} to {last}"
    return f"from {_clock(first / frame_rate)} to {_clock((last + 1) / frame_rate)}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
