"""Fake probabilities of frames -> one for each person -> one for the video."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.index import Video

REAL_VERDICT, FAKE_VERDICT, NO_VERDICT = "real", "fake", "no verdict"

# How a person's frames become one probability.
AGGREGATIONS: dict[str, Callable[[np.ndarray], float]] = {
    "mean": lambda probabilities: float(np.mean(probabilities)),
    "median": lambda probabilities: float(np.median(probabilities)),
}


@dataclass(frozen=True)
class FrameScore:
    """A face in a frame, and how fake the network finds it."""

    video: str
    frame: int
    track: int
    path: str
    fake_probability: float


@dataclass(frozen=True)
class Verdict:
    """A video judged: by its most fake-looking person. Without a usable face there is no probability and no verdict."""

    video: Video
    people: dict[int, float]  # track -> fake probability
    fake_probability: float | None
    verdict: str
    frames: list[FrameScore]

    @property
    def outcome(self) -> str:
        """TP, FP, TN or FN; empty without a verdict."""
        if self.verdict == NO_VERDICT:
            return ""
        right = (self.verdict == FAKE_VERDICT) == bool(self.video.label)
        return ("T" if right else "F") + ("P" if self.verdict == FAKE_VERDICT else "N")

    @property
    def example(self) -> FrameScore:
        """The frame to show: the most fake-looking of a video judged fake, the least of one judged real."""
        sign = 1 if self.verdict == FAKE_VERDICT else -1
        return max(self.frames, key=lambda frame: (sign * frame.fake_probability, -frame.frame, -frame.track))


def judge_people(frames: Sequence[FrameScore], aggregation: str) -> dict[int, float]:
    """The scores of one video's frames -> track -> that person's fake probability."""
    by_track: dict[int, list[float]] = {}
    for frame in frames:
        by_track.setdefault(frame.track, []).append(frame.fake_probability)
    return {track: AGGREGATIONS[aggregation](np.array(by_track[track])) for track in sorted(by_track)}


def judge_video(video: Video, frames: Sequence[FrameScore], threshold: float, aggregation: str) -> Verdict:
    """The scores of one video's frames -> its verdict."""
    people = judge_people(frames, aggregation)
    if not people:
        return Verdict(video, {}, None, NO_VERDICT, [])
    probability = max(people.values())
    return Verdict(video, people, probability, verdict_of(probability, threshold), list(frames))


def verdict_of(probability: float, threshold: float) -> str:
    return FAKE_VERDICT if probability > threshold else REAL_VERDICT


def judge_videos(videos: Sequence[Video], frames: Sequence[FrameScore], threshold: float, aggregation: str) -> list[Verdict]:
    """A verdict for each of the videos, in their order."""
    by_video: dict[str, list[FrameScore]] = {}
    for frame in frames:
        by_video.setdefault(frame.video, []).append(frame)
    return [judge_video(video, by_video.get(video.video, []), threshold, aggregation) for video in videos]
