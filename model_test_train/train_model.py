"""Stage train: crops of the training and validation videos -> a checkpoint, and the figures of every epoch.

Reads the index and data/crops, writes data/models. A killed run goes on from the last state that it saved. With several GPUs
(or `--devices`) a process for each trains on its share of every batch.
"""

import argparse
import io
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model_test_train.augmentations.augmentation import build_augmentation
from model_test_train.checkpoint import Checkpoint, save_checkpoint
from model_test_train.crop_dataset import (
    Groups,
    Samples,
    TrainingGroups,
    pairs,
    picture_batches,
    samples_by_video,
    singles,
    training_batches,
)
from model_test_train.figures import auc, best_threshold
from model_test_train.judging import fake_probabilities
from model_test_train.networks.network import Network, build_network, read_description
from model_test_train.team import Team, joined, start_team, team_wanted, with_synced_norms
from model_test_train.training import PRECISIONS, Recipe, Run, Trainer, begin_run, is_stale, keep_if_best
from model_test_train.verdicts import FrameScore, Verdict, judge_videos
from pipeline.errors import UserError, run
from pipeline.index import Video, of_dataset, read_index
from pipeline.ledger import content_hash, key_of
from pipeline.memory import keep_memory
from pipeline.outputs import write_bytes, write_csv, write_json
from pipeline.params import PathFlag, build, load_params, read_command_line, setting
from pipeline.progress import track
from pipeline.project import from_root
from pipeline.provenance import code_revision
from pipeline.reproducible import DEVICES, seed_everything
from preprocessing import detection, extraction
from preprocessing.crops import ledgers_in, read_crops

VALIDATION_BATCH = 64
HISTORY_COLUMNS = ("epoch", "train_loss", "val_loss", "val_auc")


@dataclass(frozen=True)
class Params:
    config: str = setting("the network's YAML")
    dataset: str = setting("one manipulation to train on, or All")
    num_epochs: int = setting("passes over the training crops", low=1)
    patience: int = setting("epochs without a better validation loss before training stops", low=1)
    max_videos: int = setting("train on that many videos at most; -1 takes all", low=-1)
    workers: int = setting("processes that read crops", low=0)
    seed: int = setting("of weights, order and augmentation", low=0)
    threads: int = setting("of the processor, for the network, of each process", low=1)
    device: str = setting("where the network is trained", choices=DEVICES)
    devices: int = setting("processes that train together; 0: one for each GPU", low=0)
    precision: str = setting("of the network's arithmetic in training", choices=tuple(PRECISIONS))
    compile: bool = setting("the network by torch.compile, which needs a C++ compiler")
    save_seconds: float = setting("between two states on disk of a run that goes on", low=0)


@dataclass(frozen=True)
class TrainingData:
    """What a run learns from and what it is validated on."""

    groups: Groups
    validation: Samples
    validation_videos: list[Video]


def train_model(
    data: TrainingData, description: dict[str, Any], params: Params, unfinished: Path, team: Team, device: torch.device
) -> Run:
    """Trains to the end (or until validation no longer improves), from the state in `unfinished` if there is one."""
    seed_everything(params.seed, params.threads)
    keep_memory()
    recipe = build(Recipe, description["training"], f"{params.config}: training")
    network = build_network(description).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with_synced_norms(network, team)
    augmentation = build_augmentation(description["augmentation"])
    if (recipe.mask_weight or recipe.gaze_weight) and not network.detector.places:
        raise UserError("training.mask_weight and gaze_weight must be 0: this detector's tokens are no places")
    dataset = TrainingGroups(data.groups, network.input, network.detector.places or (1, 1), augmentation, params.seed)
    steps = len(training_batches(dataset, recipe.batch_size, 0, params.seed, 0))
    training = begin_run(network, recipe, steps, params.num_epochs, params.precision)
    if unfinished.is_file():
        training.restore(torch.load(unfinished, "cpu", weights_only=True))
        say(team, f"goes on after epoch {training.epoch}, step {training.step}")
    trainer = Trainer(training, recipe, params.seed, team, params.precision, augmentation)
    if params.compile:
        trainer.lesson.compile()
    save = partial(save_state, unfinished, training) if team.leads else lambda: None
    while training.epoch < params.num_epochs and not is_stale(training, params.patience):
        batches = training_batches(dataset, recipe.batch_size, params.workers, params.seed, training.epoch, training.step, team)
        doing = f"epoch {training.epoch + 1} of {params.num_epochs}"
        shown = track(batches, len(batches), doing, "batches") if team.leads else batches
        train_loss = trainer.train_epoch(shown, save, params.save_seconds)
        keep_if_best(training, {"train_loss": train_loss, **validate(training.averaged, data, params, team)})
        say(team, "  ".join(f"{name} {value:.4g}" for name, value in training.history[-1].items()))
        save()
    network.load_state_dict(training.best)
    return training


def say(team: Team, words: str) -> None:
    if team.leads:
        print(words, flush=True)


def validate(network: Network, data: TrainingData, params: Params, team: Team) -> dict[str, float]:
    """Loss over the frames, AUC over the videos."""
    probabilities = judge_samples(network, data.validation, params.workers, team)
    labels = np.array([sample.video.label for sample in data.validation])
    true_class = np.clip(np.where(labels, probabilities, 1 - probabilities), 1e-7, 1)
    verdicts = validation_verdicts(data, probabilities)
    return {"val_loss": float(-np.log(true_class).mean()), "val_auc": auc(*labels_and_probabilities(verdicts))}


def judge_samples(network: Network, samples: Samples, workers: int, team: Team) -> np.ndarray:
    """Each member judges its share."""
    batches = picture_batches(team.share(samples), network.input, VALIDATION_BATCH, workers)
    return np.array(team.gather(fake_probabilities(network, network.input, batches).tolist()))


def validation_verdicts(data: TrainingData, probabilities: np.ndarray) -> list[Verdict]:
    frames = [
        FrameScore(sample.video.video, sample.crop.frame, sample.crop.track, str(sample.crop.path), float(probability))
        for sample, probability in zip(data.validation, probabilities, strict=True)
    ]
    return judge_videos(data.validation_videos, frames, threshold=0.5, aggregation="mean")


def labels_and_probabilities(verdicts: list[Verdict]) -> tuple[np.ndarray, np.ndarray]:
    """Of the videos that got a verdict."""
    judged = [(v.video.label, v.fake_probability) for v in verdicts if v.fake_probability is not None]
    labels, probabilities = zip(*judged, strict=True) if judged else ((), ())
    return np.array(labels, int), np.array(probabilities, float)


def save_state(path: Path, training: Run) -> None:
    state = io.BytesIO()
    torch.save(training.state(), state)
    write_bytes(path, state.getvalue())


def load_data(index: list[Video], crops_path: Path, params: Params, recipe: Recipe) -> TrainingData:
    """Training groups and validation samples; of a fake only the main person, whom its label is about."""
    videos = of_dataset(index, params.dataset)
    crops = read_crops(crops_path)
    training = [video for video in videos if video.split == "training_set"]
    if params.max_videos >= 0:
        training = training[: params.max_videos]
    chosen = samples_by_video(training, crops, recipe.frames_per_video, everybody=False)
    if not chosen:
        raise UserError(f"no crops of training videos in {crops_path}; `dvc repro extract_crops` makes them")
    shares = recipe.rebalancing_real, recipe.rebalancing_fake
    groups = pairs(chosen) if recipe.paired else singles(chosen, *shares)
    validation_videos = [video for video in videos if video.split == "validation_set"]
    validation = samples_by_video(validation_videos, crops, recipe.frames_per_video, everybody=False)
    if len({video.label for video in validation_videos if video.video in validation}) < 2:
        raise UserError("validation_set needs crops of real and of fake videos; see data/index/videos.csv")
    return TrainingData(Groups(groups), Samples(s for samples in validation.values() for s in samples), validation_videos)


def checkpoint_of(
    training: Run,
    probabilities: np.ndarray,
    data: TrainingData,
    description: dict[str, Any],
    params: Params,
    index_path: Path,
    index: list[Video],
) -> Checkpoint:
    """What the best network's file says beside its weights; the threshold is the best on the validation videos."""
    verdicts = validation_verdicts(data, probabilities)
    name = f"{Path(params.config).stem}_checkpoint{training.best_epoch}_{params.dataset}"
    return Checkpoint(
        name=name,
        description=description,
        preprocessing={
            "detect_faces": asdict(load_params("detect_faces", detection.Params).settings()),
            "extract_crops": asdict(load_params("extract_crops", extraction.Params).crop_settings()),
        },
        threshold=best_threshold(*labels_and_probabilities(verdicts)),
        calibration=None,
        trained_on=sorted({video.dataset for video in index}),
        provenance={
            "code": code_revision("train"),
            "params": asdict(params),
            "index": content_hash(index_path),
            "epoch": training.best_epoch,
            "validation": training.history[training.best_epoch - 1],
        },
    )


def main() -> None:
    params, paths = read_command_line(
        __doc__,
        "train",
        Params,
        index=PathFlag("data/index/videos.csv", "the index of videos"),
        crops=PathFlag("data/crops", "the crops of its videos"),
        resume=PathFlag(None, "state of an unfinished run to go on from"),
        output_path=PathFlag("data/models", "where the checkpoint goes"),
    )
    if size := team_wanted(params.devices, params.device):
        start_team(size, sys.argv)
        return
    with joined(params.device) as (team, device):
        train(params, paths, team, device)


def train(params: Params, paths: argparse.Namespace, team: Team, device: torch.device) -> None:
    description = read_description(config_path(params.config))
    index = read_index(paths.index)
    data = load_data(index, paths.crops, params, build(Recipe, description["training"], f"{params.config}: training"))
    say(team, f"{len(data.groups)} training groups, {len(data.validation)} validation crops")
    key = key_of(
        asdict(params), description, content_hash(paths.index), [content_hash(path) for path in ledgers_in(paths.crops)]
    )
    unfinished = from_root(f"data/unfinished/train-{key}.pt")
    if paths.resume and team.leads:
        write_bytes(unfinished, paths.resume.read_bytes())
    team.wait()
    training = train_model(data, description, params, unfinished, team, device)
    probabilities = judge_samples(training.network, data.validation, params.workers, team)
    if not team.leads:
        return
    checkpoint = checkpoint_of(training, probabilities, data, description, params, paths.index, index)
    save_checkpoint(paths.output_path / "best.safetensors", training.network, checkpoint)
    write_csv(paths.output_path / "history.csv", HISTORY_COLUMNS, training.history)
    best = training.history[training.best_epoch - 1]
    write_json(paths.output_path / "metrics.json", {**best, "threshold": checkpoint.threshold})
    unfinished.unlink()
    print(f"{checkpoint.name}: validation AUC {best['val_auc']:.3f}, threshold {checkpoint.threshold:.3f}")


def config_path(config: str) -> Path:
    """As given (from the current folder, as published) or, as `params.yaml` has it, from the project's root."""
    return Path(config) if Path(config).is_file() else from_root(config)


if __name__ == "__main__":
    run(main)
