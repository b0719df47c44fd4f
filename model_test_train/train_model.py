"""Stage train: crops of the training and validation videos -> a checkpoint, and the figures of every epoch.

Reads the index and data/crops, writes data/models. A killed run goes on from the last state that it saved. With several GPUs
(or `--devices`) a process for each trains on its share of every batch.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from model_test_train.networks.checkpoint import Checkpoint, save_checkpoint
from model_test_train.networks.network import build_network, read_description
from model_test_train.networks.pretrained import begins_from
from model_test_train.training import sanity_checks as sanity
from model_test_train.training.augmentations.augmentation import FORGERIES, Augmentation, build_augmentation
from model_test_train.training.augmentations.mixing import Batch
from model_test_train.training.data import (
    Groups,
    Sample,
    Samples,
    TrainingGroups,
    chance_of_forgery,
    counts_of,
    pairs,
    pictures_in,
    samples_by_video,
    singles,
    training_batches,
)
from model_test_train.training.distributed import (
    ALONE,
    STOPPED,
    ProcessGroup,
    SigtermFlag,
    joined,
    process_count,
    start_processes,
    with_synced_norms,
)
from model_test_train.training.loggers import Watched
from model_test_train.training.run_folder import RunFolder
from model_test_train.training.trainer import PRECISIONS, Recipe, Run, Trainer, begin_run, is_stale, keep_if_best
from model_test_train.training.validation import ValidationSet, validate, with_twins
from model_test_train.training.video_sampling import sample_videos
from pipeline.errors import UserError, run
from pipeline.index import FAKE, REAL, Video, of_dataset, read_index
from pipeline.ledger import content_hash, key_of
from pipeline.memory import keep_memory
from pipeline.outputs import write_bytes
from pipeline.params import DEVICES, PathFlag, SwitchFlag, build, load_params, read_command_line, setting
from pipeline.progress import track
from pipeline.project import from_root, relative
from pipeline.provenance import code_revision
from pipeline.reproducible import seed_everything
from preprocessing.corpus.folders import CROPS_FLAGS, claim, index_for
from preprocessing.crops import extraction
from preprocessing.crops.crops import ledgers_in, read_crops
from preprocessing.faces import detection

FORGE = " or ".join(f"augmentation.{name}" for name in FORGERIES)
CHANGE_NOTHING = ("workers", "save_seconds", "tensorboard")  # settings under which it is the same run


@dataclass(frozen=True)
class Params:
    config: str = setting("the network's YAML")
    dataset: str = setting("one manipulation to train on, or All")
    num_epochs: int = setting("passes over the training crops", low=1)
    patience: int = setting("epochs without a better validation loss before training stops", low=1)
    max_videos: int = setting("train on that many videos at most, evenly of both labels and all methods; -1: all", low=-1)
    workers: int = setting("processes that read crops", low=0)
    seed: int = setting("of weights, order and augmentation", low=0)
    threads: int = setting("of the processor, for the network, of each process", low=1)
    device: str = setting("where the network is trained", choices=DEVICES)
    devices: int = setting("processes that train together; 0: one for each GPU", low=0)
    precision: str = setting("of the network's arithmetic in training", choices=tuple(PRECISIONS))
    compile: bool = setting("the network by torch.compile, which needs a C++ compiler")
    save_seconds: float = setting("between two states on disk of a run that goes on", low=0)
    tensorboard: bool = setting("events for TensorBoard in the run's folder")


@dataclass(frozen=True)
class TrainingData:
    """What a run learns from and what it is validated on."""

    groups: Groups
    validation: ValidationSet


def train_model(
    data: TrainingData,
    description: dict[str, Any],
    params: Params,
    folder: RunFolder,
    output: Path,
    checkpoint_of: Callable[[Run, int], Checkpoint],
    team: ProcessGroup,
    device: torch.device,
) -> Run:
    """Trains to the end (or until validation no longer improves), from the state in the run's folder if there is one."""
    notice = SigtermFlag(team, device)
    recipe, dataset, training = prepared(data, description, params, team, device)
    folder.restore(training)
    trainer = Trainer(training, recipe, params.seed, team, params.precision, dataset.augmentation, params.compile)
    folder.say(trainer.learning_share())
    watched = Watched(output, folder.path, training, params.tensorboard) if team.is_main else None
    save = partial(folder.save, training)
    while training.epoch < params.num_epochs and not is_stale(training, recipe, params.patience):
        if trainer.enter_phase():
            folder.say(f"after epoch {training.epoch} {trainer.learning_share()}")
        batches = training_batches(dataset, recipe.batch_size, params.workers, params.seed, training.epoch, training.step, team)
        steps = until_told(shown(batches, training, params, team), notice, training, folder)
        losses = trainer.train_epoch(steps, save, params.save_seconds)
        found = validate(training.averaged, data.validation, params.workers, team)
        keep_if_best(training, {**losses, **found.figures(recipe.most_false_alarms)})
        training.calibrations.append(found.calibration().facts())
        folder.say(told(training.history[-1], trainer.pictures_a_second))
        folder.keep(training, checkpoint_of)
        if watched:
            watched.note(training, found, trainer.pictures_a_second)
        save()
    if watched:
        watched.close(training)
    training.network.load_state_dict(training.best, strict=False)
    return training


def prepared(
    data: TrainingData, description: dict[str, Any], params: Params, team: ProcessGroup, device: torch.device
) -> tuple[Recipe, TrainingGroups, Run]:
    """What a run is made of, at its first step."""
    seed_everything(params.seed, params.threads)
    keep_memory()
    recipe = build(Recipe, description["training"], f"{params.config}: training")
    network = build_network(description).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with_synced_norms(network, team)
    augmentation = build_augmentation(description["augmentation"])
    if recipe.mask_weight and not network.places:
        raise UserError("training.mask_weight must be 0, or detector.patch_head true: this detector's tokens are no places")
    if recipe.attention_loss_weight and not hasattr(network.head, "places"):
        raise UserError("training.attention_loss_weight must be 0: this detector has no class token that looks at places")
    dataset = TrainingGroups(data.groups, network.input, network.places or (1, 1), augmentation, params.seed)
    steps = len(training_batches(dataset, recipe.batch_size, 0, params.seed, 0))
    return recipe, dataset, begin_run(network, recipe, steps, params.num_epochs, params.precision)


def shown(batches: DataLoader, training: Run, params: Params, team: ProcessGroup) -> Iterable[Batch]:
    """The batches, with a bar for who looks."""
    if not team.is_main:
        return batches
    doing, pictures = f"epoch {training.epoch + 1} of {params.num_epochs}", team.size * pictures_in(batches)
    return track(batches, pictures, doing, "pictures", size=lambda batch: team.size * len(batch[1]))


def until_told(batches: Iterable[Batch], notice: SigtermFlag, training: Run, folder: RunFolder) -> Iterator[Batch]:
    """The batches; whoever is told to end finishes the step, saves, and ends."""
    for batch in batches:
        yield batch
        if notice.has_come():
            folder.save(training)
            folder.say(
                f"told to end: saved after epoch {training.epoch}, step {training.step}; the same command goes on from there"
            )
            notice.team.wait()  # no one may miss another before the state is on disk
            sys.exit(STOPPED)


def told(row: dict[str, float], pictures_a_second: float) -> str:
    """An epoch's figures in a line."""
    names = ("epoch", "train_loss", "val_loss", "val_auc")
    return "  ".join(f"{name} {row[name]:.4g}" for name in names) + f"  {pictures_a_second:.0f} pictures a second"


def load_data(index: list[Video], crops_path: Path, params: Params, recipe: Recipe, augmentation: Augmentation) -> TrainingData:
    """Training groups and validation samples; of a fake only the main person, whom its label is about.

    Where augmentation makes fakes of real faces, real videos alone are enough to learn from, and to validate on.
    """
    videos = of_dataset(index, params.dataset)
    crops = read_crops(crops_path)
    with_crops = {crop.video for crop in crops}
    training = [video for video in videos if video.split == "training_set" and video.video in with_crops]
    if not training:
        raise UserError(f"no crops of training videos in {crops_path}; `dvc repro extract_crops` makes them")
    if params.max_videos >= 0:
        training = sample_videos(training, params.max_videos, params.seed)
    chosen = samples_by_video(training, crops, recipe.frames_per_video, everybody=False)
    check_classes([samples[0].video for samples in chosen.values()], params, chance_of_forgery(augmentation) > 0)
    shares = recipe.rebalancing_real, recipe.rebalancing_fake
    groups = pairs(chosen, *shares) if recipe.paired else singles(chosen, *shares)
    validation_videos = [video for video in videos if video.split == "validation_set"]
    validation = samples_by_video(validation_videos, crops, recipe.frames_per_video, everybody=False)
    return TrainingData(Groups(groups), validation_set(validation, validation_videos, params, augmentation))


def validation_set(
    chosen: dict[str, list[Sample]], videos: list[Video], params: Params, augmentation: Augmentation
) -> ValidationSet:
    """As the videos are, if they are real and fake; real ones get forged twins, if augmentation forges."""
    labels = {samples[0].video.label for samples in chosen.values()}
    if labels == {REAL, FAKE}:
        return ValidationSet(Samples(sample for samples in chosen.values() for sample in samples), videos)
    forgeries = {name: forgery for name, forgery in augmentation.forgeries.items() if forgery.p}
    if labels == {REAL} and forgeries:
        return with_twins(chosen, forgeries, params.seed)
    forge = f", or {FORGE} make fakes of the real ones" if labels == {REAL} else ""
    raise UserError(f"validation_set needs crops of real and of fake videos{forge}; see data/index/videos.csv")


def check_classes(training: list[Video], params: Params, forges: bool) -> None:
    """That there are real and fake faces to tell apart."""
    labels = {video.label for video in training}
    if labels == {REAL, FAKE} or (forges and labels == {REAL}):
        return
    found = "only real" if labels == {REAL} else "only fake" if labels else "no"
    way = "raise train.max_videos" if params.max_videos >= 0 else "add videos of the other class, or choose another dataset"
    blend = f"; or let {FORGE} make fakes of the real ones" if labels == {REAL} else ""
    raise UserError(f"the training set has crops of {found} videos, so there is nothing to tell apart: {way}{blend}")


def checkpoint_of(
    training: Run,
    epoch: int,
    *,
    description: dict[str, Any],
    params: Params,
    index_path: Path,
    index: list[Video],
    forged_validation: bool,
) -> Checkpoint:
    """What the file of an epoch's network says beside its weights; the threshold is the best on the validation videos."""
    figures = training.history[epoch - 1]
    return Checkpoint(
        name=f"{Path(params.config).stem}_checkpoint{epoch}_{params.dataset}",
        description=description,
        preprocessing={
            "detect_faces": asdict(load_params("detect_faces", detection.Params).settings()),
            "extract_crops": asdict(load_params("extract_crops", extraction.Params).crop_settings()),
        },
        threshold=figures["threshold"],
        calibration=training.calibrations[epoch - 1],
        trained_on=sorted({video.dataset for video in index}),
        provenance={
            "code": code_revision("train"),
            "params": asdict(params),
            "begins_from": begins_from(description["backbone"].get("pretrained")),
            "index": content_hash(index_path),
            "epoch": epoch,
            "validation": figures,
            "validation_fakes": "forged of real videos by augmentation" if forged_validation else "videos of the corpus",
        },
    )


def main() -> None:
    params, paths = read_command_line(
        __doc__,
        "train",
        Params,
        **CROPS_FLAGS,
        resume=PathFlag(None, "state of an unfinished run to go on from (the same run is found without it)"),
        sanity=SwitchFlag("only check what is worth checking before a long run: data, gradients, one batch by heart"),
        output_path=PathFlag("data/models", "where the checkpoint goes"),
    )
    paths.index = index_for(paths.crops, paths.index)
    size = 0 if paths.sanity else process_count(params.devices, params.device)
    if size:
        start_processes(size, sys.argv)
        return
    with joined(params.device) as (team, device):
        train(params, paths, team, device)


def train(params: Params, paths: argparse.Namespace, team: ProcessGroup, device: torch.device) -> None:
    description = read_description(config_path(params.config))
    index = read_index(paths.index)
    recipe = build(Recipe, description["training"], f"{params.config}: training")
    data = load_data(index, paths.crops, params, recipe, build_augmentation(description["augmentation"]))
    folder = RunFolder(run_path(params, description, paths), team.is_main)
    folder.write_config({"train": asdict(params), **description})
    forged = ", the fake ones forged of the real ones by augmentation" if data.validation.twins else ""
    folder.say(f"{counts_of(data.groups)}; {len(data.validation.samples)} validation crops{forged}")
    if paths.sanity:
        check_sanity(data, description, params, folder, device)
        return
    if team.is_main:
        claim(paths.output_path, paths.index, paths.replace)
    if paths.resume and team.is_main:
        write_bytes(folder.state, paths.resume.read_bytes())
    team.wait()
    card = partial(
        checkpoint_of,
        description=description,
        params=params,
        index_path=paths.index,
        index=index,
        forged_validation=bool(data.validation.twins),
    )
    training = train_model(data, description, params, folder, paths.output_path, card, team, device)
    if team.is_main:
        checkpoint = card(training, training.best_epoch)
        save_checkpoint(paths.output_path / "best.safetensors", training.network, checkpoint)
        best = training.history[training.best_epoch - 1]
        folder.say(f"{checkpoint.name}: validation AUC {best['val_auc']:.3f}, threshold {checkpoint.threshold:.3f}")
        folder.say(f"the whole run: {relative(folder.path)}")
        folder.close()


def run_path(params: Params, description: dict[str, Any], paths: argparse.Namespace) -> Path:
    """The folder of this very run: with other settings, another network or other data it is another one."""
    ledgers = [content_hash(path) for path in ledgers_in(paths.crops)]
    settings = {name: value for name, value in asdict(params).items() if name not in CHANGE_NOTHING}
    begins = begins_from(description["backbone"].get("pretrained"))
    key = key_of(settings, description, begins, content_hash(paths.index), ledgers)
    return from_root(f"data/runs/{Path(params.config).stem}_{params.dataset}_{key[:8]}")


def check_sanity(
    data: TrainingData, description: dict[str, Any], params: Params, folder: RunFolder, device: torch.device
) -> None:
    recipe, dataset, training = prepared(data, description, params, ALONE, device)
    failed = 0
    for is_well, words in sanity.check(training, dataset, recipe, params.seed, folder.path / "batch.png"):
        folder.say(f"{'well' if is_well else 'WRONG'}: {words}")
        failed += not is_well
    if failed:
        raise UserError(f"{failed} of the checks found something wrong, as told above")


def config_path(config: str) -> Path:
    """As given (from the current folder, as published) or, as `params.yaml` has it, from the project's root."""
    return Path(config) if Path(config).is_file() else from_root(config)


if __name__ == "__main__":
    run(main)
