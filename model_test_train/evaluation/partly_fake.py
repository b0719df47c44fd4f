"""Videos of which only some segments are manipulated: scores and metrics of their parts, and scores over time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from explain_deepfakes.model_test_train.evaluation.testing import LabelledScore
from explain_deepfakes.model_test_train.metrics.aggregation import FrameScore, Verdict
from explain_deepfakes.model_test_train.metrics.drawing import plt, save_figure
from explain_deepfakes.model_test_train.metrics.intervals import identity_groups
from explain_deepfakes.pipeline.index import FAKE, REAL, Video
from explain_deepfakes.pipeline.outputs import write_csv

COLUMNS = ("video", "begin", "end", "label", "frames", "fake_probability", "called_fake")
MAX_DRAWN = 8  # videos in the plot of scores over time


@dataclass(frozen=True)
class Part:
    """A manipulated segment of a video, or what lies between two of them."""

    begin: float  # seconds
    end: float
    label: int


def parts_of(video: Video, last_second: float) -> list[Part]:
    """Divide a video into its manipulated segments and the real parts around them."""
    parts, begin = [], 0.0
    for segment_begin, segment_end in sorted(video.segments):
        if segment_begin > begin:
            parts.append(Part(begin, segment_begin, REAL))
        parts.append(Part(max(begin, segment_begin), segment_end, FAKE))
        begin = max(begin, segment_end)
    return [*parts, Part(begin, last_second, REAL)] if last_second > begin else parts


@dataclass(frozen=True)
class ScoredPart:
    """A part of a video, with the highest score in each of its frames."""

    video: Video
    part: Part
    frames: list[FrameScore]

    @property
    def probability(self) -> float | None:
        """The mean of the frames, uncalibrated; None without frames."""
        return float(np.mean([frame.fake_probability for frame in self.frames])) if self.frames else None


def score_parts(verdicts: Sequence[Verdict]) -> list[ScoredPart]:
    """The parts of all videos whose segments are known, and whose frames can be placed in time."""
    placed = [verdict for verdict in verdicts if verdict.video.segments and verdict.video.frame_rate and verdict.frames]
    return [part for verdict in placed for part in _parts_of_verdict(verdict)]


def _parts_of_verdict(verdict: Verdict) -> Iterator[ScoredPart]:
    rate, highest = verdict.video.frame_rate, dict[int, FrameScore]()
    for frame in verdict.frames:
        if frame.frame not in highest or frame.fake_probability > highest[frame.frame].fake_probability:
            highest[frame.frame] = frame
    frames = [highest[index] for index in sorted(highest)]
    for part in parts_of(verdict.video, (frames[-1].frame + 1) / rate):
        yield ScoredPart(verdict.video, part, [frame for frame in frames if part.begin <= frame.frame / rate < part.end])


def label_parts(parts: Sequence[ScoredPart], videos: Sequence[Video], threshold: float) -> list[LabelledScore]:
    """The labelled scores of the parts with at least one frame. `videos` are all tested videos, which form the groups."""
    groups = identity_groups(videos)
    return [
        LabelledScore(
            f"{scored.video.video} {scored.part.begin:g}",
            scored.video.method,
            scored.part.label,
            groups[scored.video.video],
            scored.probability,
            scored.probability > threshold,
        )
        for scored in parts
        if scored.probability is not None
    ]


def write_parts(folder: Path, parts: Sequence[ScoredPart], threshold: float) -> None:
    """Write a table of all parts, and a plot of the scores over time."""
    write_csv(folder / "parts.csv", COLUMNS, [_row(scored, threshold) for scored in parts])
    draw_scores_over_time(folder / "parts.png", parts, threshold)


def _row(scored: ScoredPart, threshold: float) -> dict[str, object]:
    probability = scored.probability
    return {
        "video": scored.video.video,
        "begin": round(scored.part.begin, 3),
        "end": round(scored.part.end, 3),
        "label": scored.part.label,
        "frames": len(scored.frames),
        "fake_probability": "" if probability is None else probability,
        "called_fake": "" if probability is None else probability > threshold,
    }


def draw_scores_over_time(path: Path, parts: Sequence[ScoredPart], threshold: float) -> None:
    """Draw the score of each frame of the first videos over time, with the true segments shaded."""
    by_video: dict[str, list[ScoredPart]] = {}
    for scored in parts:
        by_video.setdefault(scored.video.video, []).append(scored)
    drawn = list(by_video.values())[:MAX_DRAWN]
    figure, axes = plt.subplots(len(drawn), 1, figsize=(9, 1 + 1.3 * len(drawn)), squeeze=False, layout="constrained")
    for of_video, axis in zip(drawn, axes[:, 0], strict=True):
        video, frames = of_video[0].video, [frame for scored in of_video for frame in scored.frames]
        for begin, end in video.segments:
            axis.axvspan(begin, end, color="tab:orange", alpha=0.25, linewidth=0)
        seconds = [frame.frame / video.frame_rate for frame in frames]
        axis.plot(seconds, [frame.fake_probability for frame in frames], marker="o", markersize=3, color="tab:blue")
        axis.axhline(threshold, color="0.5", linestyle=":", linewidth=1)
        axis.set(ylim=(-0.03, 1.03), ylabel="fake probability")
        axis.set_title(video.video, fontsize=8, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xlabel("seconds; shaded: manipulated segments; dotted: threshold")
    save_figure(path, figure)
