"""Aggregate fake probabilities of frames to people and videos, and derive verdicts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explain_deepfakes.pipeline.index import Video

REAL_VERDICT, FAKE_VERDICT, NO_VERDICT = "real", "fake", "no verdict"
PUBLISHED_THRESHOLD = 0.55
TOP = 5  # frames of `top-5`

Probabilities = NDArray[np.float64]


def _mean(probabilities: Probabilities) -> float:
    return float(np.mean(probabilities))


def _first_above_threshold_or_mean(people: Sequence[float]) -> float:
    """The first person above the published threshold decides; if there is none, the mean of all people."""
    return next((person for person in people if person > PUBLISHED_THRESHOLD), _mean(np.array(people)))


@dataclass(frozen=True)
class FrameScore:
    """A face in a frame and its fake probability."""

    video: str
    frame: int
    track: int
    path: str
    fake_probability: float
    aux_outputs: tuple[float, ...] = ()  # see Network.aux_output_names
    area: float = 1.0  # of the crop's window, relative to those of other faces in the frame


def _logit_mean(probabilities: Probabilities) -> float:
    """The probability that belongs to the mean of the logits."""
    clipped = probabilities.clip(1e-12, 1 - 1e-12)
    return float(1 / (1 + np.exp(-np.mean(np.log(clipped / (1 - clipped))))))


def _confident(probabilities: Probabilities) -> float:
    """The mean of the confident frames, if they are many enough: the rule of the winner of the DFDC."""
    fake, real = probabilities[probabilities > 0.8], probabilities[probabilities < 0.2]
    if len(fake) > max(len(probabilities) // 2.5, 11):
        return _mean(fake)
    return _mean(real if len(real) > 0.9 * len(probabilities) else probabilities)


def _mean_of_largest(frames: Sequence[FrameScore]) -> float:
    """The highest of the large faces in each frame; the mean over frames."""
    by_frame: dict[int, list[FrameScore]] = {}
    for score in frames:
        by_frame.setdefault(score.frame, []).append(score)
    highest = []
    for scores in by_frame.values():
        largest = max(score.area for score in scores)
        highest.append(max(score.fake_probability for score in scores if score.area >= largest / 2))
    return _mean(np.array(highest))


@dataclass(frozen=True)
class Aggregation:
    person: Callable[[Probabilities], float]  # aggregates a person's frames
    video: Callable[[Sequence[float]], float]  # aggregates people, ordered by track number
    description: str
    faces: Callable[[Sequence[FrameScore]], float] | None = None  # aggregates all faces of a video, in place of `video`


HIGHEST = "the highest person decides"
AGGREGATIONS = {
    "mean": Aggregation(_mean, max, f"mean of a person's frames, {HIGHEST}"),
    "median": Aggregation(lambda frames: float(np.median(frames)), max, f"median of a person's frames, {HIGHEST}"),
    f"top-{TOP}": Aggregation(lambda frames: _mean(np.sort(frames)[-TOP:]), max, f"mean of the top {TOP} frames, {HIGHEST}"),
    "published": Aggregation(
        _mean,
        _first_above_threshold_or_mean,
        f"mean of a person's frames, the first person above {PUBLISHED_THRESHOLD} decides, else the mean of all people",
    ),
    "mean-logit": Aggregation(_logit_mean, max, f"mean of the logits of a person's frames, {HIGHEST}"),
    "confident": Aggregation(_confident, max, f"mean of a person's confident frames if there are many, {HIGHEST}"),
    "largest-faces": Aggregation(
        _mean, max, "highest of the faces with at least half the area of the largest, mean over frames", _mean_of_largest
    ),
}


@dataclass(frozen=True)
class VerdictRule:
    """How the scores of frames become a verdict."""

    aggregation: str
    threshold: float  # applies to uncalibrated probabilities, as `band`
    calibrate: Callable[[Probabilities], Probabilities] = lambda raw: raw
    band: tuple[float, float] | None = None  # a verdict inside the band is uncertain

    def calibrated(self, probability: float) -> float:
        return float(self.calibrate(np.array([probability]))[0])

    def verdict(self, raw: float | None) -> str:
        if raw is None:
            return NO_VERDICT
        return FAKE_VERDICT if raw > self.threshold else REAL_VERDICT

    def is_uncertain(self, raw: float | None) -> bool:
        return raw is not None and self.band is not None and self.band[0] <= raw <= self.band[1]


def outcome_of(verdict: str, label: int) -> str:
    """TP, FP, TN or FN; empty without a verdict."""
    if verdict == NO_VERDICT:
        return ""
    is_right = (verdict == FAKE_VERDICT) == bool(label)
    return ("T" if is_right else "F") + ("P" if verdict == FAKE_VERDICT else "N")


@dataclass(frozen=True)
class Verdict:
    """The verdict on a video and on the people in it. Without a usable face there are neither probability nor verdict."""

    video: Video
    people: dict[int, float]  # track -> fake probability, calibrated
    raw_probability: float | None
    fake_probability: float | None  # calibrated
    verdict: str
    is_uncertain: bool
    frames: list[FrameScore]

    @property
    def outcome(self) -> str:
        """TP, FP, TN or FN; empty without a verdict."""
        return outcome_of(self.verdict, self.video.label)

    @property
    def example(self) -> FrameScore:
        """The frame to show: the one of highest fake probability if the verdict is fake, of the lowest if it is real."""
        sign = 1 if self.verdict == FAKE_VERDICT else -1
        return max(self.frames, key=lambda frame: (sign * frame.fake_probability, -frame.frame, -frame.track))


def person_scores(frames: Sequence[FrameScore], aggregation: str) -> dict[int, float]:
    """The uncalibrated fake probability of each person (by track) of one video."""
    aggregate = AGGREGATIONS[aggregation].person
    by_track = group_by_track(frames)
    return {track: aggregate(np.array([score.fake_probability for score in scores])) for track, scores in by_track.items()}


def video_score(frames: Sequence[FrameScore], aggregation: str) -> float:
    """The uncalibrated fake probability of a video with at least one face."""
    rule = AGGREGATIONS[aggregation]
    return rule.faces(frames) if rule.faces else rule.video(list(person_scores(frames, aggregation).values()))


def group_by_track(frames: Sequence[FrameScore]) -> dict[int, list[FrameScore]]:
    """The scores of each person, ordered by track number."""
    tracks: dict[int, list[FrameScore]] = {}
    for frame in frames:
        tracks.setdefault(frame.track, []).append(frame)
    return {track: tracks[track] for track in sorted(tracks)}


def video_verdict(video: Video, frames: Sequence[FrameScore], rule: VerdictRule) -> Verdict:
    """The verdict on one video, from the scores of its frames."""
    people = person_scores(frames, rule.aggregation)
    raw = video_score(frames, rule.aggregation) if people else None
    calibrated = {track: rule.calibrated(probability) for track, probability in people.items()}
    probability = None if raw is None else rule.calibrated(raw)
    return Verdict(video, calibrated, raw, probability, rule.verdict(raw), rule.is_uncertain(raw), list(frames))


def video_verdicts(videos: Sequence[Video], frames: Sequence[FrameScore], rule: VerdictRule) -> list[Verdict]:
    """The verdict on each video, in the order of the videos."""
    by_video: dict[str, list[FrameScore]] = {}
    for frame in frames:
        by_video.setdefault(frame.video, []).append(frame)
    return [video_verdict(video, by_video.get(video.video, []), rule) for video in videos]
