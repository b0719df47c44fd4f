"""Test a network: score crops, label the verdicts, and compute metrics by frame, by video and by method."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict, cast

import numpy as np
import torch

from explain_deepfakes.model_test_train.evaluation.params import TestParams
from explain_deepfakes.model_test_train.metrics.aggregation import (
    AGGREGATIONS,
    FAKE_VERDICT,
    NO_VERDICT,
    FrameScore,
    Verdict,
    VerdictRule,
)
from explain_deepfakes.model_test_train.metrics.calibration import Calibration
from explain_deepfakes.model_test_train.metrics.intervals import Estimate, estimate_metrics, identity_groups
from explain_deepfakes.model_test_train.metrics.point_metrics import Scores, compute_metrics
from explain_deepfakes.model_test_train.networks.checkpoint import Checkpoint
from explain_deepfakes.model_test_train.networks.network import Network
from explain_deepfakes.model_test_train.networks.scoring import map_ranges, score_batch
from explain_deepfakes.model_test_train.training.data import PictureDataset, PictureTransform, Sample, Samples, samples_by_video
from explain_deepfakes.pipeline.index import Video
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.progress import track
from explain_deepfakes.pipeline.project import relative
from explain_deepfakes.preprocessing.crops.crops import read_crops

CALIBRATION_METRICS = ("log_loss", "brier", "calibration_error")
MetricTable = dict[str, int | Estimate]  # the number of videos (or frames) and of fakes, and an estimate of each metric


class ProtocolHeader(TypedDict):
    """What every plot and table of metrics must be read with."""

    model: str
    warning: str | None
    split: str
    aggregation: str
    threshold: float
    intervals: str


class ProtocolRecord(ProtocolHeader):
    """The conditions of a test. Probabilities are calibrated ones."""

    checkpoint: str  # hash of the file
    trained_on: list[str]
    dataset: str
    index: str  # hash of the file
    frames_per_video: int
    sampling: str
    calibration: str
    uncertain_from_to: list[float] | None
    abstain_error: float
    crops: Mapping[str, object]  # settings of extract_crops


class ByClass(TypedDict):
    """A number of videos of each class."""

    of_real: int
    of_fake: int


class AbstentionRecord(TypedDict):
    """How many verdicts are uncertain, and how many of the others are wrong."""

    uncertain: int
    wrong_though_certain: ByClass
    certain: ByClass


class CalibrationRecord(TypedDict):
    """Metrics of probabilities before and after calibration."""

    before: dict[str, float]
    after: dict[str, float]


class VideoMetrics(TypedDict):
    """Metrics over videos, of all methods together and of each method against the originals."""

    video: MetricTable
    video_by_method: dict[str, MetricTable]


class LevelMetrics(VideoMetrics):
    """Metrics over videos and over frames."""

    frame: MetricTable
    frame_by_method: dict[str, MetricTable]
    part: NotRequired[MetricTable]  # over manipulated and real parts of the videos with segments
    abstaining: AbstentionRecord
    no_verdict: int


class MetricsRecord(LevelMetrics):
    """All metrics of a test."""

    calibration: dict[str, CalibrationRecord]  # by split


def make_protocol(
    checkpoint: Checkpoint, model_path: Path, index_path: Path, params: TestParams, rule: VerdictRule
) -> ProtocolRecord:
    return {
        "model": checkpoint.name,
        "checkpoint": content_hash(model_path),
        "warning": checkpoint.warning,
        "trained_on": checkpoint.trained_on,
        "dataset": params.dataset,
        "split": params.split,
        "index": content_hash(index_path),
        "frames_per_video": params.frames_per_video,
        "sampling": params.sampling,
        "aggregation": AGGREGATIONS[rule.aggregation].description,
        "threshold": round(rule.calibrated(rule.threshold), 6),
        "calibration": params.calibration if checkpoint.calibration else "none",
        "uncertain_from_to": [round(rule.calibrated(edge), 6) for edge in rule.band] if rule.band else None,
        "abstain_error": params.abstain_error,
        "crops": checkpoint.preprocessing["extract_crops"],
        "intervals": f"95 %, bootstrap over groups of identities, {params.bootstrap} draws",
    }


def first_difference(
    a: Mapping[str, object], b: Mapping[str, object], keys: Iterable[str]
) -> tuple[str, object, object] | None:
    """The first of the keys in which two protocols differ, with both values; None if they agree in all."""
    return next(((key, a.get(key), b.get(key)) for key in keys if a.get(key) != b.get(key)), None)


def select_samples(videos: Sequence[Video], crops: Path, params: TestParams) -> Samples:
    """The crops of every person in the videos that are scored."""
    by_video = samples_by_video(videos, read_crops(crops), params.frames_per_video, everybody=True, sampling=params.sampling)
    return Samples(sample for name in sorted(by_video) for sample in by_video[name])


def score_frames(
    network: Network,
    samples: Sequence[Sample],
    params: TestParams,
    transform: PictureTransform | None = None,
    activity: str = "scoring",  # label of the progress bar
) -> list[FrameScore]:
    """Score the crops, each after a transform if there is one."""
    pictures = PictureDataset(samples, network.input, transform)

    def score(indices: range) -> np.ndarray:
        return score_batch(network, torch.stack([pictures[index] for index in indices]))

    batches = map_ranges(score, len(samples), params.batch_size, params.workers)
    rows = (row for batch in track(batches, len(samples), activity, "pictures", size=len) for row in batch.tolist())
    return [
        FrameScore(
            s.video.video,
            s.crop.frame,
            s.crop.track,
            relative(s.crop.path),
            probability,
            tuple(aux_outputs),
            s.crop.window.area,
        )
        for s, (probability, *aux_outputs) in zip(samples, rows, strict=True)
    ]


@dataclass(frozen=True)
class LabelledScore:
    """Label, fake probability and verdict of a video or frame."""

    name: str
    method: str
    label: int
    group: int  # number of the group of videos that share a person
    probability: float
    called_fake: bool


def labelled_videos(verdicts: Sequence[Verdict]) -> list[LabelledScore]:
    """The labelled scores of the videos that have a verdict."""
    groups = identity_groups([verdict.video for verdict in verdicts])
    return [
        LabelledScore(
            v.video.video, v.video.method, v.video.label, groups[v.video.video], v.fake_probability, v.verdict == FAKE_VERDICT
        )
        for v in verdicts
        if v.fake_probability is not None
    ]


def labelled_frames(verdicts: Sequence[Verdict], threshold: float) -> list[LabelledScore]:
    """The labelled scores of all frames, uncalibrated. Of a fake with segments, the frames outside them are real."""
    groups = identity_groups([verdict.video for verdict in verdicts])
    return [
        LabelledScore(
            f.path,
            v.video.method,
            int(v.video.is_manipulated(f.frame)),
            groups[f.video],
            f.fake_probability,
            f.fake_probability > threshold,
        )
        for v in verdicts
        for f in v.frames
    ]


def as_arrays(scores: Sequence[LabelledScore]) -> Scores:
    return Scores(
        np.array([score.label for score in scores], int),
        np.array([score.probability for score in scores], float),
        np.array([score.called_fake for score in scores], bool),
    )


def estimate_metrics_of(scores: Sequence[LabelledScore], draws: int, seed: int) -> MetricTable:
    return estimate_metrics(as_arrays(scores), np.array([score.group for score in scores], int), draws, seed)


def get_estimate(table: MetricTable, name: str) -> Estimate:
    """The estimate of a metric in the table."""
    return cast(Estimate, table[name])


def group_by_method(scores: Sequence[LabelledScore]) -> dict[str, list[LabelledScore]]:
    """The scores of each manipulation, with all originals."""
    methods = sorted({score.method for score in scores if score.label})
    return {method: [score for score in scores if score.method == method or not score.label] for method in methods}


def estimate_metrics_by_method(scores: Sequence[LabelledScore], draws: int, seed: int) -> dict[str, MetricTable]:
    return {method: estimate_metrics_of(of_method, draws, seed) for method, of_method in group_by_method(scores).items()}


def compute_test_metrics(verdicts: Sequence[Verdict], rule: VerdictRule, params: TestParams) -> LevelMetrics:
    """Metrics over frames and over videos, of all methods together and of each method against the originals."""
    frames, videos = labelled_frames(verdicts, rule.threshold), labelled_videos(verdicts)
    return {
        "frame": estimate_metrics_of(frames, params.bootstrap, params.seed),
        "video": estimate_metrics_of(videos, params.bootstrap, params.seed),
        "frame_by_method": estimate_metrics_by_method(frames, params.bootstrap, params.seed),
        "video_by_method": estimate_metrics_by_method(videos, params.bootstrap, params.seed),
        "abstaining": count_abstentions(verdicts),
        "no_verdict": sum(verdict.verdict == NO_VERDICT for verdict in verdicts),
    }


def count_abstentions(verdicts: Sequence[Verdict]) -> AbstentionRecord:
    """Of the videos with a verdict, how many are uncertain, and how many of the others are wrong, by class."""
    with_verdict = [verdict for verdict in verdicts if verdict.verdict != NO_VERDICT]
    certain = [verdict for verdict in with_verdict if not verdict.is_uncertain]
    real, fake = ([verdict.outcome[0] == "F" for verdict in certain if verdict.video.label == label] for label in (0, 1))
    return {
        "uncertain": len(with_verdict) - len(certain),
        "wrong_though_certain": {"of_real": sum(real), "of_fake": sum(fake)},
        "certain": {"of_real": len(real), "of_fake": len(fake)},
    }


def compute_calibration_metrics(
    checkpoint: Checkpoint, verdicts: Sequence[Verdict], method: str
) -> dict[str, CalibrationRecord]:
    """Metrics of the probabilities before and after calibration, on validation (where it was fitted) and on the test."""
    if checkpoint.calibration is None:
        return {}
    fitted = Calibration.from_dict(checkpoint.calibration)
    labels = np.array([0] * len(fitted.real) + [1] * len(fitted.fake))
    scored = [v for v in verdicts if v.raw_probability is not None]
    test_labels = np.array([verdict.video.label for verdict in scored], int)
    raw = {
        "validation": (labels, np.array([*fitted.real, *fitted.fake])),
        "test": (test_labels, np.array([verdict.raw_probability for verdict in scored], float)),
    }
    return {
        split: {
            "before": _probability_metrics(truth, probabilities),
            "after": _probability_metrics(truth, fitted.calibrator(method)(probabilities)),
        }
        for split, (truth, probabilities) in raw.items()
        if len(truth)
    }


def _probability_metrics(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    metrics = compute_metrics(Scores.above(0.5, labels, probabilities))
    return {name: round(float(metrics[name][0]), 6) for name in CALIBRATION_METRICS}
