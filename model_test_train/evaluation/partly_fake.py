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


def with_segments(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts on videos whose segments are known, and whose frames can be placed in time."""
    return [verdict for verdict in verdicts if verdict.video.segments and verdict.video.frame_rate and verdict.frames]


def score_parts(verdict: Verdict) -> Iterator[tuple[Part, list[FrameScore]]]:
    """Yield the parts of a video with their frames. In each frame, the person with the highest score counts."""
    rate, highest = verdict.video.frame_rate, dict[int, FrameScore]()
    for frame in verdict.frames:
        if frame.frame not in highest or frame.fake_probability > highest[frame.frame].fake_probability:
            highest[frame.frame] = frame
    frames = [highest[index] for index in sorted(highest)]
    for part in parts_of(verdict.video, (frames[-1].frame + 1) / rate):
        yield part, [frame for frame in frames if part.begin <= frame.frame / rate < part.end]


def labelled_parts(verdicts: Sequence[Verdict], threshold: float) -> list[LabelledScore]:
    """The labelled scores of all parts with at least one frame: the mean of the frames, uncalibrated."""
    groups = identity_groups([verdict.video for verdict in verdicts])
    scores = []
    for verdict in with_segments(verdicts):
        video = verdict.video
        for part, frames in score_parts(verdict):
            if frames:
                probability = float(np.mean([frame.fake_probability for frame in frames]))
                name = f"{video.video} {part.begin:g}"
                score = LabelledScore(name, video.method, part.label, groups[video.video], probability, probability > threshold)
                scores.append(score)
    return scores


def write_parts(folder: Path, verdicts: Sequence[Verdict], threshold: float) -> None:
    """Write a table of all parts, and a plot of the scores over time."""
    rows = []
    for verdict in with_segments(verdicts):
        for part, frames in score_parts(verdict):
            probability = float(np.mean([frame.fake_probability for frame in frames])) if frames else None
            rows.append(
                {
                    "video": verdict.video.video,
                    "begin": round(part.begin, 3),
                    "end": round(part.end, 3),
                    "label": part.label,
                    "frames": len(frames),
                    "fake_probability": "" if probability is None else probability,
                    "called_fake": "" if probability is None else probability > threshold,
                }
            )
    write_csv(folder / "parts.csv", COLUMNS, rows)
    draw_scores_over_time(folder / "parts.png", with_segments(verdicts)[:MAX_DRAWN], threshold)


def draw_scores_over_time(path: Path, verdicts: Sequence[Verdict], threshold: float) -> None:
    """Draw the score of each frame over time, with the true segments shaded."""
    figure, axes = plt.subplots(len(verdicts), 1, figsize=(9, 1 + 1.3 * len(verdicts)), squeeze=False, layout="constrained")
    for verdict, axis in zip(verdicts, axes[:, 0], strict=True):
        frames = [frame for _, frames in score_parts(verdict) for frame in frames]
        seconds = [frame.frame / verdict.video.frame_rate for frame in frames]
        for begin, end in verdict.video.segments:
            axis.axvspan(begin, end, color="tab:orange", alpha=0.25, linewidth=0)
        axis.plot(seconds, [frame.fake_probability for frame in frames], marker="o", markersize=3, color="tab:blue")
        axis.axhline(threshold, color="0.5", linestyle=":", linewidth=1)
        axis.set(ylim=(-0.03, 1.03), ylabel="score")
        axis.set_title(verdict.video.video, fontsize=8, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xlabel("seconds; shaded: manipulated segments; dotted: threshold")
    save_figure(path, figure)
