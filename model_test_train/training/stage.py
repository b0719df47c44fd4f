"""Stage train: train a network on crops, with a resumable run folder."""

import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from explain_deepfakes.model_test_train.networks.checkpoint import Checkpoint, save_checkpoint
from explain_deepfakes.model_test_train.networks.network import Description, build_network, read_description
from explain_deepfakes.model_test_train.networks.pretrained import pretrained_identity
from explain_deepfakes.model_test_train.training.augmentations.augmentation import FORGERIES, Augmentation, build_augmentation
from explain_deepfakes.model_test_train.training.augmentations.mixing import Batch
from explain_deepfakes.model_test_train.training.data import (
    Sample,
    SampleGroups,
    Samples,
    TrainingDataset,
    count_pictures,
    describe_groups,
    forgery_probability,
    pair_with_originals,
    samples_by_video,
    single_crop_groups,
    training_batches,
)
from explain_deepfakes.model_test_train.training.distributed import (
    EXIT_STOPPED,
    SINGLE_PROCESS,
    ProcessGroup,
    SigtermFlag,
    join_process_group,
    process_count,
    start_processes,
    synchronise_batch_norms,
)
from explain_deepfakes.model_test_train.training.loggers import RunLogger
from explain_deepfakes.model_test_train.training.params import TrainParams
from explain_deepfakes.model_test_train.training.run_folder import RunFolder
from explain_deepfakes.model_test_train.training.sanity_checks import run_checks
from explain_deepfakes.model_test_train.training.trainer import Recipe, Run, Trainer, begin_run, record_epoch, should_stop
from explain_deepfakes.model_test_train.training.validation import ValidationSet, add_forged_twins, validate
from explain_deepfakes.model_test_train.training.video_sampling import sample_videos
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.incremental import StageSettings
from explain_deepfakes.pipeline.index import FAKE, REAL, Video, read_index, select_dataset
from explain_deepfakes.pipeline.ledger import content_hash, key_of
from explain_deepfakes.pipeline.memory import keep_memory
from explain_deepfakes.pipeline.outputs import write_bytes
from explain_deepfakes.pipeline.params import build_settings, load_params
from explain_deepfakes.pipeline.progress import track
from explain_deepfakes.pipeline.project import find_file, from_root, relative
from explain_deepfakes.pipeline.provenance import code_revision
from explain_deepfakes.pipeline.reproducible import seed_everything
from explain_deepfakes.preprocessing.corpus.folders import claim, index_for
from explain_deepfakes.preprocessing.crops.crops import find_ledgers, read_crops, settings_of_crops
from explain_deepfakes.preprocessing.crops.params import CropParams
from explain_deepfakes.preprocessing.faces.params import DetectionParams

FORGERY_OPTIONS = " or ".join(f"augmentation.{name}" for name in FORGERIES)
NOT_IDENTIFYING = ("workers", "save_seconds", "tensorboard")  # settings that do not make it a different run


@dataclass(frozen=True)
class TrainingData:
    """The groups that a run trains on and the samples that it is validated on."""

    groups: SampleGroups
    validation: ValidationSet


def train_model(
    data: TrainingData,
    description: Description,
    params: TrainParams,
    folder: RunFolder,
    output: Path,
    make_card: Callable[[Run, int], Checkpoint],
    group: ProcessGroup,
    device: torch.device,
) -> Run:
    """Train to the end, or until validation no longer improves, resuming from the state in the run's folder if there is one."""
    sigterm = SigtermFlag(group, device)
    recipe, dataset, training_run = prepare_run(data, description, params, group, device)
    folder.restore(training_run)
    trainer = Trainer(training_run, recipe, params.seed, group, params.precision, dataset.augmentation, params.compile)
    folder.log(trainer.describe_trainable())
    logger = RunLogger(output, folder.path, training_run, params.tensorboard) if group.is_main else None
    save = partial(folder.save, training_run)
    while training_run.epoch < params.num_epochs and not should_stop(training_run, recipe, params.patience):
        epoch = training_run.epoch
        if trainer.enter_phase():
            folder.log(f"after epoch {epoch} {trainer.describe_trainable()}")
        batches = training_batches(dataset, recipe.batch_size, params.workers, params.seed, epoch, training_run.step, group)
        steps = stop_on_sigterm(with_progress(batches, training_run, params, group), sigterm, training_run, folder)
        losses = trainer.train_epoch(steps, save, params.save_seconds)
        validation = validate(training_run.averaged, data.validation, params.workers, group)
        record_epoch(training_run, {**losses, **validation.metrics(recipe.most_false_alarms)})
        training_run.calibrations.append(validation.calibration().to_dict())
        folder.log(format_epoch(training_run.history[-1], trainer.pictures_per_second))
        folder.save_epoch(training_run, make_card)
        if logger:
            logger.log_epoch(training_run, validation, trainer.pictures_per_second)
        save()
    if logger:
        logger.close(training_run)
    training_run.network.load_state_dict(training_run.best, strict=False)
    return training_run


def prepare_run(
    data: TrainingData, description: Description, params: TrainParams, group: ProcessGroup, device: torch.device
) -> tuple[Recipe, TrainingDataset, Run]:
    """The recipe, the dataset, and the run at its first step."""
    seed_everything(params.seed, params.threads)
    keep_memory()
    recipe = build_settings(Recipe, description["training"], f"{params.config}: training")
    network = build_network(description).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    synchronise_batch_norms(network, group)
    augmentation = build_augmentation(description["augmentation"])
    if recipe.mask_weight and not network.patch_grid:
        raise UserError("training.mask_weight must be 0 or detector.patch_head true: the tokens of this head are not patches")
    if recipe.alignment_weight or recipe.uniformity_weight:
        if not getattr(network.head, "normalised", False):
            raise UserError("training.alignment_weight and uniformity_weight need a head of unit vectors: detector.normalised")
        if recipe.mask_weight:
            raise UserError("training.mask_weight must be 0 beside alignment_weight and uniformity_weight")
    if recipe.attention_loss_weight and not hasattr(network.head, "patch_grid"):
        raise UserError("training.attention_loss_weight must be 0: this head has no class token that attends to patches")
    dataset = TrainingDataset(data.groups, network.input, network.patch_grid or (1, 1), augmentation, params.seed)
    steps = len(training_batches(dataset, recipe.batch_size, 0, params.seed, 0))
    return recipe, dataset, begin_run(network, recipe, steps, params.num_epochs, params.precision)


def with_progress(batches: DataLoader[Batch], training_run: Run, params: TrainParams, group: ProcessGroup) -> Iterable[Batch]:
    """The batches, with a progress bar in the main process."""
    if not group.is_main:
        return batches
    title, pictures = f"epoch {training_run.epoch + 1} of {params.num_epochs}", group.size * count_pictures(batches)
    return track(batches, pictures, title, "pictures", size=lambda batch: group.size * len(batch[1]))


def stop_on_sigterm(batches: Iterable[Batch], sigterm: SigtermFlag, training_run: Run, folder: RunFolder) -> Iterator[Batch]:
    """The batches; after SIGTERM, the current step is finished, the state is saved, and the process exits."""
    for batch in batches:
        yield batch
        if sigterm.is_set():
            folder.save(training_run)
            folder.log(
                f"received SIGTERM: saved after epoch {training_run.epoch}, step {training_run.step}; "
                "run the same command again to resume"
            )
            sigterm.group.wait()  # no process may exit before the state is on disk
            sys.exit(EXIT_STOPPED)


def format_epoch(row: dict[str, float], pictures_per_second: float) -> str:
    """A line with an epoch's metrics."""
    names = ("epoch", "train_loss", "val_loss", "val_auc")
    return "  ".join(f"{name} {row[name]:.4g}" for name in names) + f"  {pictures_per_second:.0f} pictures/s"


def load_data(
    index: list[Video], crops_path: Path, params: TrainParams, recipe: Recipe, augmentation: Augmentation
) -> TrainingData:
    """Training groups and validation samples; in fakes only the main person, to whom the label applies.

    If the augmentation forges fakes from real faces, real videos alone are enough for training and validation.
    """
    videos = select_dataset(index, params.dataset)
    crops = read_crops(crops_path)
    with_crops = {crop.video for crop in crops}
    training = [video for video in videos if video.split == "training_set" and video.video in with_crops]
    if not training:
        raise UserError(f"no crops of training videos in {crops_path}; run `dvc repro extract_crops`")
    if params.max_videos >= 0:
        training = sample_videos(training, params.max_videos, params.seed)
    chosen = samples_by_video(training, crops, recipe.frames_per_video, everybody=False)
    check_classes([samples[0].video for samples in chosen.values()], params, forgery_probability(augmentation) > 0)
    shares = recipe.rebalancing_real, recipe.rebalancing_fake
    groups = pair_with_originals(chosen, *shares) if recipe.paired else single_crop_groups(chosen, *shares)
    validation_videos = [video for video in videos if video.split == "validation_set"]
    validation = samples_by_video(validation_videos, crops, recipe.frames_per_video, everybody=False)
    return TrainingData(SampleGroups(groups), validation_set(validation, validation_videos, params, augmentation))


def validation_set(
    chosen: dict[str, list[Sample]], videos: list[Video], params: TrainParams, augmentation: Augmentation
) -> ValidationSet:
    """The validation samples; real videos get forged twins if there are no fakes and the augmentation forges."""
    labels = {samples[0].video.label for samples in chosen.values()}
    if labels == {REAL, FAKE}:
        return ValidationSet(Samples(sample for samples in chosen.values() for sample in samples), videos)
    forgeries = {name: forgery for name, forgery in augmentation.forgeries.items() if forgery.p}
    if labels == {REAL} and forgeries:
        return add_forged_twins(chosen, forgeries, params.seed)
    hint = f", or {FORGERY_OPTIONS} to forge fakes from the real ones" if labels == {REAL} else ""
    raise UserError(f"validation_set needs crops of real and of fake videos{hint}; see data/index/videos.csv")


def check_classes(training: list[Video], params: TrainParams, forges: bool) -> None:
    """Raise an error unless there are both real and fake faces to train on."""
    labels = {video.label for video in training}
    if labels == {REAL, FAKE} or (forges and labels == {REAL}):
        return
    present = "only real" if labels == {REAL} else "only fake" if labels else "no"
    remedy = "raise train.max_videos" if params.max_videos >= 0 else "add videos of the other class, or choose another dataset"
    hint = f"; or let {FORGERY_OPTIONS} forge fakes from the real ones" if labels == {REAL} else ""
    raise UserError(f"the training set has crops of {present} videos, but both classes are needed: {remedy}{hint}")


def preprocessing_of(crops: Path) -> StageSettings:
    """The settings that produced the crops; those of params.yaml where none are recorded, as with boxes from elsewhere."""
    detection, cropping = load_params("detect_faces", DetectionParams), load_params("extract_crops", CropParams)
    return {**detection.recorded_settings(), **cropping.recorded_settings(), **settings_of_crops(crops)}


def make_card(
    training_run: Run,
    epoch: int,
    *,
    description: Description,
    params: TrainParams,
    preprocessing: StageSettings,
    index_path: Path,
    index: list[Video],
    forged_validation: bool,
) -> Checkpoint:
    """The checkpoint card of an epoch's network; its threshold is the best on the validation videos."""
    metrics = training_run.history[epoch - 1]
    return Checkpoint(
        name=f"{Path(params.config).stem}_checkpoint{epoch}_{params.dataset}",
        description=description,
        preprocessing=preprocessing,
        threshold=metrics["threshold"],
        calibration=training_run.calibrations[epoch - 1],
        trained_on=sorted({video.dataset for video in index}),
        provenance={
            "code": code_revision("train"),
            "params": asdict(params),
            "begins_from": pretrained_identity(description["backbone"].get("pretrained")),
            "index": content_hash(index_path),
            "epoch": epoch,
            "validation": metrics,
            "validation_fakes": "forged of real videos by augmentation" if forged_validation else "videos of the corpus",
        },
    )


def train_model_on_devices(params: TrainParams, paths: Namespace) -> None:
    paths.index = index_for(paths.crops, paths.index)
    size = 0 if paths.sanity else process_count(params.devices, params.device)
    if size:
        start_processes(size, sys.argv)
        return
    with join_process_group(params.device) as (group, device):
        train(params, paths, group, device)


def train(params: TrainParams, paths: Namespace, group: ProcessGroup, device: torch.device) -> None:
    description = read_description(config_path(params.config))
    index = read_index(paths.index)
    recipe = build_settings(Recipe, description["training"], f"{params.config}: training")
    data = load_data(index, paths.crops, params, recipe, build_augmentation(description["augmentation"]))
    folder = RunFolder(run_path(params, description, paths), group.is_main)
    folder.write_config({"train": asdict(params), **description})
    forged = ", fakes forged from the real ones by augmentation" if data.validation.twins else ""
    folder.log(f"{describe_groups(data.groups)}; {len(data.validation.samples)} validation crops{forged}")
    if paths.sanity:
        check_sanity(data, description, params, folder, device)
        return
    if group.is_main:
        claim(paths.output_path, paths.index, paths.replace)
    if paths.resume and group.is_main:
        write_bytes(folder.state, paths.resume.read_bytes())
    group.wait()
    make_epoch_card = partial(
        make_card,
        description=description,
        params=params,
        preprocessing=preprocessing_of(paths.crops),
        index_path=paths.index,
        index=index,
        forged_validation=bool(data.validation.twins),
    )
    training_run = train_model(data, description, params, folder, paths.output_path, make_epoch_card, group, device)
    if group.is_main:
        checkpoint = make_epoch_card(training_run, training_run.best_epoch)
        save_checkpoint(paths.output_path / "best.safetensors", training_run.network, checkpoint)
        best = training_run.history[training_run.best_epoch - 1]
        folder.log(f"{checkpoint.name}: validation AUC {best['val_auc']:.3f}, threshold {checkpoint.threshold:.3f}")
        folder.log(f"log and checkpoints of the run: {relative(folder.path)}")
        folder.close()


def run_path(params: TrainParams, description: Description, paths: Namespace) -> Path:
    """The folder of this run; its name depends on settings, network and data."""
    ledgers = [content_hash(path) for path in find_ledgers(paths.crops)]
    settings = {name: value for name, value in asdict(params).items() if name not in NOT_IDENTIFYING}
    pretrained = pretrained_identity(description["backbone"].get("pretrained"))
    key = key_of(settings, description, pretrained, content_hash(paths.index), ledgers)
    return from_root(f"data/runs/{Path(params.config).stem}_{params.dataset}_{key[:8]}")


def check_sanity(
    data: TrainingData, description: Description, params: TrainParams, folder: RunFolder, device: torch.device
) -> None:
    recipe, dataset, training_run = prepare_run(data, description, params, SINGLE_PROCESS, device)
    failed = 0
    for result in run_checks(training_run, dataset, recipe, params.seed, folder.path / "batch.png"):
        folder.log(f"{'ok' if result.passed else 'FAILED'}: {result.message}")
        failed += not result.passed
    if failed:
        raise UserError(f"{failed} sanity checks failed, see above")


def config_path(config: str) -> Path:
    """The path relative to the current folder, as in the published scripts, or else to the project's root."""
    return Path(config) if Path(config).is_file() else find_file(config)
