"""Stage test: a checkpoint and the crops of the test videos -> verdicts, figures and the ROC, in results/tests.

What it writes is all that explanation and report need; they never run the test again.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model_test_train.evaluation.plots import draw_all, told
from model_test_train.evaluation.testing import (
    Params,
    calibration_metrics,
    labelled_videos,
    measure_tests,
    protocol,
    rule_of,
    samples_of,
    score_frames,
)
from model_test_train.metrics.verdicts import NO_VERDICT, FrameScore, Rule, Verdict, video_verdicts
from model_test_train.networks.checkpoint import Checkpoint, load_checkpoint
from model_test_train.networks.network import read_description
from pipeline.errors import UserError, run
from pipeline.index import Video, of_dataset, read_index
from pipeline.outputs import write_csv, write_json, write_text
from pipeline.params import PathFlag, read_command_line
from pipeline.reproducible import choose_device, seed_everything
from preprocessing.corpus.folders import CROPS_FLAGS, claim, index_for

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
TOLD = ("accuracy", "balanced_accuracy", "auc", "eer", "f1")


def write_verdicts(
    folder: Path, name: str, params: Params, verdicts: list[Verdict], rule: Rule, told: Sequence[str] = ()
) -> None:
    """The two tables, and those that the published scripts write; predictions with all that the network has told."""
    for earlier in (*folder.glob("samples_list_*.csv"), *folder.glob("*_labels.txt")):  # of another network
        earlier.unlink()
    by_name = {verdict.video.video: verdict.video for verdict in verdicts}
    frames = [frame for verdict in verdicts for frame in verdict.frames]
    write_csv(folder / "frames.csv", FRAME_COLUMNS, (_frame_row(f, by_name[f.video]) for f in frames))
    write_csv(folder / "videos.csv", VIDEO_COLUMNS, map(_video_row, verdicts))
    write_text(folder / f"{params.dataset}_{name}_labels.txt", "".join(map(_label_line, verdicts)))
    samples = (_sample_row(verdict) for verdict in verdicts if verdict.verdict != NO_VERDICT)
    write_csv(folder / f"samples_list_{params.dataset}_{name}.csv", SAMPLE_COLUMNS, samples)
    predictions = ({**_prediction_row(f, by_name[f.video], rule), **dict(zip(told, f.told, strict=True))} for f in frames)
    write_csv(folder / "test_predictions.csv", (*PREDICTION_COLUMNS, *told), predictions)


def _frame_row(frame: FrameScore, video: Video) -> dict[str, Any]:
    return {**_facts(video), **{column: value for column, value in vars(frame).items() if column in FRAME_COLUMNS}}


def _facts(video: Video) -> dict[str, Any]:
    return {"method": video.method, "label": video.label}


def _video_row(verdict: Verdict) -> dict[str, Any]:
    return {
        "video": verdict.video.video,
        **_facts(verdict.video),
        "identities": " ".join(verdict.video.identities),
        "fake_probability": _or_nothing(verdict.fake_probability),
        "fake_probability_raw": _or_nothing(verdict.raw_probability),
        "verdict": verdict.verdict,
        "uncertain": verdict.is_uncertain,
        "outcome": verdict.outcome,
        "people": len(verdict.people),
        "frames": len(verdict.frames),
    }


def _or_nothing(probability: float | None) -> float | str:
    return "" if probability is None else probability


def _prediction_row(frame: FrameScore, video: Video, rule: Rule) -> dict[str, Any]:
    called_fake = int(frame.fake_probability > rule.threshold)
    return {"image": frame.path, "label": video.label, "score": frame.fake_probability, "prediction": called_fake}


def _label_line(verdict: Verdict) -> str:
    people = "".join(f" {probability:.6f}" for probability in verdict.people.values())
    judged = NO_VERDICT if verdict.fake_probability is None else f"{verdict.fake_probability:.6f}"
    return f"{verdict.video.video}{people} --> {judged}(CORRECT: {float(verdict.video.label)})\n"


def _sample_row(verdict: Verdict) -> dict[str, Any]:
    """One crop a video: where it lies, as folder of the video and file name."""
    example = Path(verdict.example.path)
    return {
        "video_name": example.parent.as_posix(),
        "label": float(verdict.video.label),
        "video_prob": verdict.fake_probability,
        "high_low_prob": verdict.example.fake_probability,
        "example_file_name": example.name,
    }


def main() -> None:
    params, paths = read_command_line(
        __doc__,
        "test",
        Params,
        model_path=PathFlag("data/models/best.safetensors", "the checkpoint to test"),
        config=PathFlag(None, "a network's YAML that the checkpoint must agree with"),
        **CROPS_FLAGS,
        output_path=PathFlag("results/tests", "where the verdicts go"),
    )
    seed_everything(params.seed, params.threads)
    index = index_for(paths.crops, paths.index)
    network, checkpoint = load_checkpoint(paths.model_path, choose_device(params.device))
    if paths.config and read_description(paths.config) != checkpoint.description:
        raise UserError(f"{paths.model_path} was not trained with {paths.config}; leave --config out, the checkpoint knows")
    videos = [video for video in of_dataset(read_index(index), params.dataset) if video.split == params.split]
    samples = samples_of(videos, paths.crops, params)
    if not len(samples):
        raise UserError(f"no crops of {params.split} videos in {paths.crops}; `dvc repro extract_crops` makes them")
    claim(paths.output_path, index, paths.replace)
    rule = rule_of(checkpoint, params)
    verdicts = video_verdicts(videos, score_frames(network, samples, params), rule)
    facts = protocol(checkpoint, paths.model_path, index, params, rule)
    say(write_tests(paths.output_path, checkpoint, facts, verdicts, rule, params, network.told), checkpoint)


def write_tests(
    folder: Path,
    checkpoint: Checkpoint,
    facts: dict[str, Any],
    verdicts: list[Verdict],
    rule: Rule,
    params: Params,
    told: Sequence[str],
) -> dict[str, Any]:
    """Verdicts, figures and plots; returns the figures."""
    write_verdicts(folder, checkpoint.name, params, verdicts, rule, told)
    no_verdict = [verdict.video.video for verdict in verdicts if verdict.verdict == NO_VERDICT]
    write_json(folder / "protocol.json", {**facts, "no_verdict": no_verdict})
    measured = measure_tests(verdicts, rule, params)
    measured["calibration"] = calibration_metrics(checkpoint, verdicts, params.calibration)
    write_json(folder / "metrics.json", measured)
    write_json(folder / "test_metrics.json", summary(measured))
    raw = np.array([v.raw_probability for v in verdicts if v.raw_probability is not None]) if checkpoint.calibration else None
    draw_all(folder, labelled_videos(verdicts), measured, facts, raw)
    return measured


def summary(measured: dict[str, Any]) -> dict[str, Any]:
    """The figures of the videos alone, without their intervals."""
    return {name: figure["value"] if isinstance(figure, dict) else figure for name, figure in measured["video"].items()}


def say(measured: dict[str, Any], checkpoint: Checkpoint) -> None:
    """The figures in words, on the terminal."""
    print(f"{checkpoint.name}: {measured['video']['count']} videos judged, {measured['no_verdict']} without a usable face")
    for level in ("video", "frame"):
        print(f"  by {level}: {', '.join(f'{name} {told(measured[level][name])}' for name in TOLD)}")
    left = measured["abstaining"]
    wrong, certain = (sum(left[name].values()) for name in ("wrong_though_certain", "certain"))
    print(f"  {left['uncertain']} videos are left uncertain; of the {certain} others, {wrong} are judged wrong")
    if checkpoint.warning:
        print(checkpoint.warning)


if __name__ == "__main__":
    run(main)
