"""Stage test: score the test videos with a checkpoint, and write verdicts, metrics and plots."""

import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np

from explain_deepfakes.model_test_train.evaluation.checkpoint_rule import make_verdict_rule
from explain_deepfakes.model_test_train.evaluation.params import TestParams
from explain_deepfakes.model_test_train.evaluation.partly_fake import label_parts, score_parts, write_parts
from explain_deepfakes.model_test_train.evaluation.plots import write_plots
from explain_deepfakes.model_test_train.evaluation.testing import (
    MetricsRecord,
    ProtocolRecord,
    compute_calibration_metrics,
    compute_test_metrics,
    estimate_metrics_of,
    get_estimate,
    labelled_videos,
    make_protocol,
    score_frames,
    select_samples,
)
from explain_deepfakes.model_test_train.metrics.aggregation import NO_VERDICT, FrameScore, Verdict, VerdictRule, video_verdicts
from explain_deepfakes.model_test_train.metrics.intervals import format_estimate
from explain_deepfakes.model_test_train.networks.checkpoint import Checkpoint, load_checkpoint
from explain_deepfakes.model_test_train.networks.network import read_description
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import Video, read_index, select_dataset
from explain_deepfakes.pipeline.outputs import write_csv, write_json, write_text
from explain_deepfakes.pipeline.reproducible import choose_device, seed_everything
from explain_deepfakes.preprocessing.corpus.folders import claim, index_for

FRAME_COLUMNS = ("video", "method", "label", "frame", "track", "path", "fake_probability")
VIDEO_COLUMNS = (
    "video",
    "method",
    "label",
    "identities",
    "fake_probability",
    "fake_probability_raw",
    "verdict",
    "uncertain",
    "outcome",
    "people",
    "frames",
)
SAMPLE_COLUMNS = ("video_name", "label", "video_prob", "high_low_prob", "example_file_name")
PREDICTION_COLUMNS = ("image", "label", "score", "prediction")
PRINTED_METRICS = ("accuracy", "balanced_accuracy", "auc", "eer", "f1")


class FrameScoreRow(TypedDict):
    video: str
    method: str
    label: int
    frame: int
    track: int
    path: str
    fake_probability: float


class VerdictRow(TypedDict):
    video: str
    method: str
    label: int
    identities: str
    fake_probability: float | str  # empty without a verdict
    fake_probability_raw: float | str
    verdict: str
    uncertain: bool
    outcome: str
    people: int
    frames: int


class SampleRow(TypedDict):
    video_name: str
    label: float
    video_prob: float | None
    high_low_prob: float
    example_file_name: str


class PredictionRow(TypedDict):
    image: str
    label: int
    score: float
    prediction: int


def tables_of_network(folder: Path, dataset: str, network: str) -> tuple[Path, Path]:
    """The tables of the published scripts whose names contain the network's: labels, and samples to explain."""
    return folder / f"{dataset}_{network}_labels.txt", folder / f"samples_list_{dataset}_{network}.csv"


def remove_earlier_tables(folder: Path) -> None:
    """Remove the tables of the network that was tested in this folder before; other files in it may be the user's."""
    try:
        tested: ProtocolRecord = json.loads((folder / "protocol.json").read_bytes())
        tables = tables_of_network(folder, tested["dataset"], tested["model"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return  # no test, or one that was interrupted
    for table in tables:
        table.unlink(missing_ok=True)


def write_verdicts(
    folder: Path,
    name: str,
    params: TestParams,
    verdicts: list[Verdict],
    rule: VerdictRule,
    aux_output_names: Sequence[str] = (),
) -> None:
    """Write the tables of frames and videos, and those of the published scripts, with all auxiliary outputs of the network."""
    remove_earlier_tables(folder)
    by_name = {verdict.video.video: verdict.video for verdict in verdicts}
    frames = [frame for verdict in verdicts for frame in verdict.frames]
    write_csv(folder / "frames.csv", FRAME_COLUMNS, (_frame_row(f, by_name[f.video]) for f in frames))
    write_csv(folder / "videos.csv", VIDEO_COLUMNS, map(_video_row, verdicts))
    labels_path, samples_path = tables_of_network(folder, params.dataset, name)
    write_text(labels_path, "".join(map(_label_line, verdicts)))
    samples = (_sample_row(verdict) for verdict in verdicts if verdict.verdict != NO_VERDICT)
    write_csv(samples_path, SAMPLE_COLUMNS, samples)
    predictions = (
        {**_prediction_row(f, by_name[f.video], rule), **dict(zip(aux_output_names, f.aux_outputs, strict=True))}
        for f in frames
    )
    write_csv(folder / "test_predictions.csv", (*PREDICTION_COLUMNS, *aux_output_names), predictions)


def _frame_row(frame: FrameScore, video: Video) -> FrameScoreRow:
    return {
        "video": frame.video,
        "method": video.method,
        "label": video.label,
        "frame": frame.frame,
        "track": frame.track,
        "path": frame.path,
        "fake_probability": frame.fake_probability,
    }


def _video_row(verdict: Verdict) -> VerdictRow:
    return {
        "video": verdict.video.video,
        "method": verdict.video.method,
        "label": verdict.video.label,
        "identities": " ".join(verdict.video.identities),
        "fake_probability": _or_empty(verdict.fake_probability),
        "fake_probability_raw": _or_empty(verdict.raw_probability),
        "verdict": verdict.verdict,
        "uncertain": verdict.is_uncertain,
        "outcome": verdict.outcome,
        "people": len(verdict.people),
        "frames": len(verdict.frames),
    }


def _or_empty(probability: float | None) -> float | str:
    return "" if probability is None else probability


def _prediction_row(frame: FrameScore, video: Video, rule: VerdictRule) -> PredictionRow:
    called_fake = int(frame.fake_probability > rule.threshold)
    return {"image": frame.path, "label": video.label, "score": frame.fake_probability, "prediction": called_fake}


def _label_line(verdict: Verdict) -> str:
    people = "".join(f" {probability:.6f}" for probability in verdict.people.values())
    score = NO_VERDICT if verdict.fake_probability is None else f"{verdict.fake_probability:.6f}"
    return f"{verdict.video.video}{people} --> {score}(CORRECT: {float(verdict.video.label)})\n"


def _sample_row(verdict: Verdict) -> SampleRow:
    """One crop per video; its path is divided into the video's folder and the file name."""
    example = Path(verdict.example.path)
    return {
        "video_name": example.parent.as_posix(),
        "label": float(verdict.video.label),
        "video_prob": verdict.fake_probability,
        "high_low_prob": verdict.example.fake_probability,
        "example_file_name": example.name,
    }


def test_model(params: TestParams, paths: Namespace) -> None:
    seed_everything(params.seed, params.threads)
    index = index_for(paths.crops, paths.index)
    network, checkpoint = load_checkpoint(paths.model_path, choose_device(params.device))
    if paths.config and read_description(paths.config) != checkpoint.description:
        raise UserError(
            f"{paths.model_path} was not trained with {paths.config}; omit --config, since the checkpoint describes its network"
        )
    videos = [video for video in select_dataset(read_index(index), params.dataset) if video.split == params.split]
    samples = select_samples(videos, paths.crops, params)
    if not len(samples):
        raise UserError(f"no crops of {params.split} videos in {paths.crops}; make them with `dvc repro extract_crops`")
    claim(paths.output_path, index, paths.replace)
    rule = make_verdict_rule(checkpoint, params)
    verdicts = video_verdicts(videos, score_frames(network, samples, params), rule)
    protocol = make_protocol(checkpoint, paths.model_path, index, params, rule)
    metrics = write_results(paths.output_path, checkpoint, protocol, verdicts, rule, params, network.aux_output_names)
    print_summary(metrics, checkpoint)


def write_results(
    folder: Path,
    checkpoint: Checkpoint,
    protocol: ProtocolRecord,
    verdicts: list[Verdict],
    rule: VerdictRule,
    params: TestParams,
    aux_output_names: Sequence[str],
) -> MetricsRecord:
    """Write verdicts, metrics and plots; return the metrics."""
    write_verdicts(folder, checkpoint.name, params, verdicts, rule, aux_output_names)
    no_verdict = [verdict.video.video for verdict in verdicts if verdict.verdict == NO_VERDICT]
    write_json(folder / "protocol.json", {**protocol, "no_verdict": no_verdict})
    metrics: MetricsRecord = {
        **compute_test_metrics(verdicts, rule, params),
        "calibration": compute_calibration_metrics(checkpoint, verdicts, params.calibration),
    }
    if parts := score_parts(verdicts):
        labelled = label_parts(parts, [verdict.video for verdict in verdicts], rule.threshold)
        metrics["part"] = estimate_metrics_of(labelled, params.bootstrap, params.seed)
        write_parts(folder, parts, rule.threshold)
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "test_metrics.json", point_metrics(metrics))
    raw = np.array([v.raw_probability for v in verdicts if v.raw_probability is not None]) if checkpoint.calibration else None
    write_plots(folder, labelled_videos(verdicts), metrics, protocol, raw, protocol["uncertain_from_to"])
    return metrics


def point_metrics(metrics: MetricsRecord) -> dict[str, float | None]:
    """The metrics by video without their intervals."""
    return {name: entry["value"] if isinstance(entry, dict) else entry for name, entry in metrics["video"].items()}


def print_summary(metrics: MetricsRecord, checkpoint: Checkpoint) -> None:
    print(f"{checkpoint.name}: {metrics['video']['count']} videos scored, {metrics['no_verdict']} without a usable face")
    tables = {"video": metrics["video"], "frame": metrics["frame"], "part": metrics.get("part")}
    for level, table in tables.items():
        if table:
            estimates = [f"{name} {format_estimate(get_estimate(table, name))}" for name in PRINTED_METRICS]
            print(f"  by {level}: {', '.join(estimates)}")
    abstaining = metrics["abstaining"]
    wrong, certain = (
        counts["of_real"] + counts["of_fake"] for counts in (abstaining["wrong_though_certain"], abstaining["certain"])
    )
    print(f"  {abstaining['uncertain']} verdicts are uncertain; of the other {certain}, {wrong} are wrong")
    if checkpoint.warning:
        print(checkpoint.warning)
