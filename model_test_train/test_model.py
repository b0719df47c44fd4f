"""Stage test: a checkpoint and the crops of the test videos -> verdicts, figures and the ROC, in results/tests.

What it writes is all that explanation and report need; they never run the test again.
"""

from pathlib import Path
from typing import Any

from model_test_train.checkpoint import Checkpoint, load_checkpoint
from model_test_train.crop_dataset import samples_by_video
from model_test_train.networks.network import read_description
from model_test_train.roc import draw_roc, write_roc
from model_test_train.testing import Params, measure, score_frames
from model_test_train.verdicts import NO_VERDICT, Verdict, judge_videos
from pipeline.errors import UserError, run
from pipeline.index import Video, of_dataset, read_index
from pipeline.ledger import content_hash
from pipeline.outputs import write_csv, write_json, write_text
from pipeline.params import PathFlag, read_command_line
from pipeline.reproducible import choose_device, seed_everything
from preprocessing.crops import read_crops

FRAME_COLUMNS = ("video", "method", "label", "frame", "track", "path", "fake_probability")
VIDEO_COLUMNS = ("video", "method", "label", "fake_probability", "verdict", "outcome", "people", "frames")
SAMPLE_COLUMNS = ("video_name", "label", "video_prob", "high_low_prob", "example_file_name")


def write_verdicts(folder: Path, name: str, params: Params, verdicts: list[Verdict]) -> None:
    """The two tables, and the two files that the published script writes."""
    by_name = {verdict.video.video: verdict.video for verdict in verdicts}
    frames = [frame for verdict in verdicts for frame in verdict.frames]
    write_csv(folder / "frames.csv", FRAME_COLUMNS, ({**_facts(by_name[f.video]), **vars(f)} for f in frames))
    write_csv(folder / "videos.csv", VIDEO_COLUMNS, map(_video_row, verdicts))
    write_text(folder / f"{params.dataset}_{name}_labels.txt", "".join(map(_label_line, verdicts)))
    samples = (_sample_row(verdict) for verdict in verdicts if verdict.verdict != NO_VERDICT)
    write_csv(folder / f"samples_list_{params.dataset}_{name}.csv", SAMPLE_COLUMNS, samples)


def _facts(video: Video) -> dict[str, Any]:
    return {"method": video.method, "label": video.label}


def _video_row(verdict: Verdict) -> dict[str, Any]:
    return {
        "video": verdict.video.video,
        **_facts(verdict.video),
        "fake_probability": "" if verdict.fake_probability is None else verdict.fake_probability,
        "verdict": verdict.verdict,
        "outcome": verdict.outcome,
        "people": len(verdict.people),
        "frames": len(verdict.frames),
    }


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


def protocol(checkpoint: Checkpoint, model_path: Path, index_path: Path, params: Params) -> dict[str, Any]:
    """What a figure must be read with."""
    return {
        "model": checkpoint.name,
        "checkpoint": content_hash(model_path),
        "warning": checkpoint.warning,
        "trained_on": checkpoint.trained_on,
        "dataset": params.dataset,
        "split": params.split,
        "index": content_hash(index_path),
        "frames_per_video": params.frames_per_video,
        "aggregation": f"{params.aggregation} of a person's frames, the highest person decides",
        "threshold": round(checkpoint.threshold, 6),
        "crops": checkpoint.preprocessing["extract_crops"],
        "intervals": f"95 %, bootstrap over groups of identities, {params.bootstrap} draws",
    }


def main() -> None:
    params, paths = read_command_line(
        __doc__,
        "test",
        Params,
        model_path=PathFlag("data/models/best.safetensors", "the checkpoint to test"),
        config=PathFlag(None, "a network's YAML that the checkpoint must agree with"),
        index=PathFlag("data/index/videos.csv", "the index of videos"),
        crops=PathFlag("data/crops", "the crops of its videos"),
        output_path=PathFlag("results/tests", "where the verdicts go"),
    )
    seed_everything(params.seed, params.threads)
    network, checkpoint = load_checkpoint(paths.model_path, choose_device(params.device))
    if paths.config and read_description(paths.config) != checkpoint.description:
        raise UserError(f"{paths.model_path} was not trained with {paths.config}; leave --config out, the checkpoint knows")
    videos = [video for video in of_dataset(read_index(paths.index), params.dataset) if video.split == params.split]
    chosen = samples_by_video(videos, read_crops(paths.crops), params.frames_per_video, everybody=True)
    samples = [sample for name in sorted(chosen) for sample in chosen[name]]
    if not samples:
        raise UserError(f"no crops of {params.split} videos in {paths.crops}; `dvc repro extract_crops` makes them")
    frames = score_frames(network, samples, params)
    verdicts = judge_videos(videos, frames, checkpoint.threshold, params.aggregation)
    measured = measure(verdicts, checkpoint.threshold, params)
    no_verdict = [verdict.video.video for verdict in verdicts if verdict.verdict == NO_VERDICT]
    write_verdicts(paths.output_path, checkpoint.name, params, verdicts)
    facts = protocol(checkpoint, paths.model_path, paths.index, params)
    write_json(paths.output_path / "metrics.json", {**measured, "no_verdict": len(no_verdict)})
    write_json(paths.output_path / "protocol.json", {**facts, "no_verdict": no_verdict})
    write_roc(paths.output_path / "roc.csv", verdicts)
    draw_roc(paths.output_path / "roc.png", verdicts, measured, facts)
    say(measured, checkpoint, no_verdict)


def say(measured: dict[str, Any], checkpoint: Checkpoint, no_verdict: list[str]) -> None:
    """The figures in words, on the terminal."""
    print(f"{checkpoint.name}: {measured['video']['count']} videos judged, {len(no_verdict)} without a usable face")
    for level in ("video", "frame"):
        told = (f"{name} {_interval(measured[level][name])}" for name in ("accuracy", "auc", "f1"))
        print(f"  by {level}: {', '.join(told)}")
    if checkpoint.warning:
        print(checkpoint.warning)


def _interval(figure: dict[str, float | None]) -> str:
    value, low, high = ("-" if figure[key] is None else f"{figure[key]:.3f}" for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


if __name__ == "__main__":
    run(main)
