"""Testing: a network and crops -> a score a frame; verdicts -> figures by frame, by video and by method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model_test_train.metrics import calibration
from model_test_train.metrics.calibration import Calibration
from model_test_train.metrics.intervals import figures, identity_groups
from model_test_train.metrics.point_metrics import Scores, measure
from model_test_train.metrics.verdicts import AGGREGATIONS, FAKE_VERDICT, NO_VERDICT, FrameScore, Rule, Verdict
from model_test_train.networks.checkpoint import Checkpoint
from model_test_train.networks.network import Network
from model_test_train.networks.scoring import judged, side_by_side
from model_test_train.training.data import Change, Pictures, Sample, Samples, samples_by_video
from pipeline.index import SPLITS, Video
from pipeline.ledger import content_hash
from pipeline.params import DEVICES, setting
from pipeline.progress import track
from pipeline.project import relative
from preprocessing.crops.crops import read_crops

OF_PROBABILITIES = ("log_loss", "brier", "calibration_error")


@dataclass(frozen=True)
class Params:
    dataset: str = setting("one manipulation (with the originals), or All")
    split: str = setting("which videos are judged", choices=SPLITS)
    frames_per_video: int = setting("equidistant frames of each person", low=1)
    batch_size: int = setting("pictures the network sees at once", low=1)
    aggregation: str = setting("how frames become a verdict", choices=tuple(AGGREGATIONS))
    calibration: str = setting("of the videos' probabilities, fitted on validation", choices=calibration.METHODS)
    abstain_error: float = setting("a verdict is uncertain where it would be wrong more often; 0: never", low=0, high=0.5)
    bootstrap: int = setting("draws behind each 95 %% interval", low=0)
    workers: int = setting("batches that are read and judged side by side", low=0)
    seed: int = setting("of the bootstrap", low=0)
    threads: int = setting("of the processor, for each of them", low=1)
    device: str = setting("where the network runs", choices=DEVICES)


def rule_of(checkpoint: Checkpoint, params: Params) -> Rule:
    """How this network's scores become verdicts."""
    if checkpoint.calibration is None:
        return Rule(params.aggregation, checkpoint.threshold)
    fitted = Calibration.read(checkpoint.calibration)
    band = None
    if params.abstain_error:  # between the band and the threshold, the two would contradict each other
        edges = (*fitted.band(params.abstain_error), checkpoint.threshold)
        band = min(edges), max(edges)
    return Rule(params.aggregation, checkpoint.threshold, fitted.by(params.calibration), band)


def protocol(checkpoint: Checkpoint, model_path: Path, index_path: Path, params: Params, rule: Rule) -> dict[str, Any]:
    """What a figure must be read with. Probabilities are the calibrated ones."""
    return {
        "model": checkpoint.name,
        "checkpoint": content_hash(model_path),
        "warning": checkpoint.warning,
        "trained_on": checkpoint.trained_on,
        "dataset": params.dataset,
        "split": params.split,
        "index": content_hash(index_path),
        "frames_per_video": params.frames_per_video,
        "aggregation": AGGREGATIONS[params.aggregation].words,
        "threshold": round(rule.calibrated(rule.threshold), 6),
        "calibration": params.calibration if checkpoint.calibration else "none",
        "uncertain_from_to": [round(rule.calibrated(edge), 6) for edge in rule.band] if rule.band else None,
        "abstain_error": params.abstain_error,
        "crops": checkpoint.preprocessing["extract_crops"],
        "intervals": f"95 %, bootstrap over groups of identities, {params.bootstrap} draws",
    }


def disagreement(one: Mapping[str, Any], other: Mapping[str, Any], keys: Sequence[str]) -> tuple[str, Any, Any] | None:
    """The first of these things that two protocols do not agree in, and what they say."""
    return next(((key, one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key)), None)


def samples_of(videos: Sequence[Video], crops: Path, params: Params) -> Samples:
    """The crops that are judged: equidistant ones of everybody in the videos."""
    chosen = samples_by_video(videos, read_crops(crops), params.frames_per_video, everybody=True)
    return Samples(sample for name in sorted(chosen) for sample in chosen[name])


def score_frames(
    network: Network, samples: Sequence[Sample], params: Params, change: Change | None = None, doing: str = "judging"
) -> list[FrameScore]:
    pictures = Pictures(samples, network.input, change)

    def judge(places: range) -> np.ndarray:
        return judged(network, torch.stack([pictures[place] for place in places]))

    batches = side_by_side(judge, len(samples), params.batch_size, params.workers)
    rows = (row for batch in track(batches, len(samples), doing, "pictures", size=len) for row in batch.tolist())
    return [
        FrameScore(s.video.video, s.crop.frame, s.crop.track, relative(s.crop.path), probability, tuple(told))
        for s, (probability, *told) in zip(samples, rows, strict=True)
    ]


@dataclass(frozen=True)
class LabelledScore:
    """One that was judged, video or frame: the truth, and what was found."""

    name: str
    method: str
    label: int
    group: int  # of connected people
    probability: float
    called_fake: bool


def labelled_videos(verdicts: Sequence[Verdict]) -> list[LabelledScore]:
    """Those that got a verdict."""
    groups = identity_groups([verdict.video for verdict in verdicts])
    return [
        LabelledScore(
            v.video.video, v.video.method, v.video.label, groups[v.video.video], v.fake_probability, v.verdict == FAKE_VERDICT
        )
        for v in verdicts
        if v.fake_probability is not None
    ]


def labelled_frames(verdicts: Sequence[Verdict], threshold: float) -> list[LabelledScore]:
    """As the network scored them."""
    groups = identity_groups([verdict.video for verdict in verdicts])
    return [
        LabelledScore(
            f.path, v.video.method, v.video.label, groups[f.video], f.fake_probability, f.fake_probability > threshold
        )
        for v in verdicts
        for f in v.frames
    ]


def scores_of(judged: Sequence[LabelledScore]) -> Scores:
    return Scores(
        np.array([one.label for one in judged], int),
        np.array([one.probability for one in judged], float),
        np.array([one.called_fake for one in judged], bool),
    )


def metrics_of(judged: Sequence[LabelledScore], draws: int, seed: int) -> dict[str, Any]:
    return figures(scores_of(judged), np.array([one.group for one in judged], int), draws, seed)


def by_method(judged: Sequence[LabelledScore]) -> dict[str, list[LabelledScore]]:
    """Each manipulation with all the originals."""
    methods = sorted({one.method for one in judged if one.label})
    return {name: [one for one in judged if one.method == name or not one.label] for name in methods}


def metrics_by_method(judged: Sequence[LabelledScore], draws: int, seed: int) -> dict[str, Any]:
    return {name: metrics_of(chosen, draws, seed) for name, chosen in by_method(judged).items()}


def measure_tests(verdicts: Sequence[Verdict], rule: Rule, params: Params) -> dict[str, Any]:
    """Figures over the frames and over the videos, over all methods and for each against the originals."""
    frames, videos = labelled_frames(verdicts, rule.threshold), labelled_videos(verdicts)
    return {
        "frame": metrics_of(frames, params.bootstrap, params.seed),
        "video": metrics_of(videos, params.bootstrap, params.seed),
        "frame_by_method": metrics_by_method(frames, params.bootstrap, params.seed),
        "video_by_method": metrics_by_method(videos, params.bootstrap, params.seed),
        "abstaining": abstaining(verdicts),
        "no_verdict": sum(verdict.verdict == NO_VERDICT for verdict in verdicts),
    }


def abstaining(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Of the videos with a verdict: how many are left uncertain, and how often the others are judged wrong, by class."""
    judged = [verdict for verdict in verdicts if verdict.verdict != NO_VERDICT]
    certain = [verdict for verdict in judged if not verdict.is_uncertain]
    wrong = {
        name: [verdict.outcome[0] == "F" for verdict in certain if verdict.video.label == label]
        for label, name in enumerate(("of_real", "of_fake"))
    }
    return {
        "uncertain": len(judged) - len(certain),
        "wrong_though_certain": {name: sum(errors) for name, errors in wrong.items()},
        "certain": {name: len(errors) for name, errors in wrong.items()},
    }


def calibration_metrics(checkpoint: Checkpoint, verdicts: Sequence[Verdict], method: str) -> dict[str, Any]:
    """How far probabilities are from what they should mean: before and after, where it was fitted and where it was tested."""
    if checkpoint.calibration is None:
        return {}
    fitted = Calibration.read(checkpoint.calibration)
    labels = np.array([0] * len(fitted.real) + [1] * len(fitted.fake))
    tested = [v for v in verdicts if v.raw_probability is not None]
    test_labels = np.array([verdict.video.label for verdict in tested], int)
    raw = {
        "validation": (labels, np.array([*fitted.real, *fitted.fake])),
        "test": (test_labels, np.array([verdict.raw_probability for verdict in tested], float)),
    }
    return {
        split: {
            "before": _of_probabilities(truth, probabilities),
            "after": _of_probabilities(truth, fitted.by(method)(probabilities)),
        }
        for split, (truth, probabilities) in raw.items()
        if len(truth)
    }


def _of_probabilities(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    found = measure(Scores.above(0.5, labels, probabilities))
    return {name: round(float(found[name][0]), 6) for name in OF_PROBABILITIES}
