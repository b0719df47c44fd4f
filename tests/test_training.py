"""Training: the samples of a run, resuming a killed run, and the contents of a checkpoint."""

import copy
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from explain_deepfakes.model_test_train.networks.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from explain_deepfakes.model_test_train.networks.input_contract import InputContract
from explain_deepfakes.model_test_train.networks.network import build_network
from explain_deepfakes.model_test_train.training.augmentations.augmentation import build_augmentation
from explain_deepfakes.model_test_train.training.data import (
    Sample,
    SampleGroups,
    Samples,
    TrainingDataset,
    count_pictures,
    pair_with_originals,
    samples_by_video,
    single_crop_groups,
    training_batches,
)
from explain_deepfakes.model_test_train.training.distributed import ProcessGroup
from explain_deepfakes.model_test_train.training.losses import DetectionLoss, EmbeddingWeights, loss_counts
from explain_deepfakes.model_test_train.training.trainer import (
    Recipe,
    Run,
    Trainer,
    begin_run,
    learning_rate_factor,
    record_epoch,
    should_stop,
)
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import Video
from explain_deepfakes.pipeline.params import build_settings, read_yaml
from explain_deepfakes.preprocessing.crops.crops import Crop, Window

AUGMENTED = {"flip": {"p": 0.5}, "part": {"p": 1.0, "most": 0.1}, "noise": {"p": 1.0, "most": 5.0}}
CONFIG = Path(__file__).parents[1] / "model_test_train/configs/patch_transformer.yaml"


def video(name: str, label: int, *identities: str) -> Video:
    made_from = tuple(f"Original/{person}" for person in identities) if label else ()
    return Video(name, name.split("/")[0], label, "training_set", identities, "v.mp4", "", "hash", "DEMO", made_from)


LEFT_HALF = np.repeat([[255] * 20 + [0] * 20], 40, 0).astype(np.uint8)
REAL, FAKE = video("Original/a", 0, "a"), video("FaceSwap/a_b", 1, "a", "b")


def crops(of: Video, frames: int, tracks: int = 1, folder: Path = Path("crops")) -> list[Crop]:
    faces = [(frame, track) for frame in range(frames) for track in range(tracks)]
    masks = folder / "masks" / of.video if of.label else None
    return [
        Crop(of.video, frame, track, f"{frame}_{track}.png", Window(0, 0, 8, 8), folder / of.video, masks)
        for frame, track in faces
    ]


def test_frames_are_equidistant_to_the_end_and_of_the_main_person_only_when_asked() -> None:
    all_crops = crops(FAKE, 100, tracks=2)
    main = samples_by_video([FAKE], all_crops, 4, everybody=False)[FAKE.video]
    everybody = samples_by_video([FAKE], all_crops, 4, everybody=True)[FAKE.video]
    assert [(s.crop.frame, s.crop.track) for s in main] == [(12, 0), (37, 0), (62, 0), (87, 0)]
    assert [s.crop.track for s in everybody] == [0] * 4 + [1] * 4


def test_a_fake_stands_beside_the_same_frame_of_its_own_original() -> None:
    second_original = video("Original/b", 0, "b")
    chosen = samples_by_video(
        [REAL, FAKE, second_original], crops(REAL, 9) + crops(FAKE, 9) + crops(second_original, 9), 3, everybody=False
    )
    groups = pair_with_originals(chosen)
    assert [(fake.video.video, real.video.video) for fake, real in groups[:3]] == [(FAKE.video, REAL.video)] * 3
    assert all(fake.crop.frame == real.crop.frame for fake, real in groups[:3])
    assert [[sample.video for sample in group] for group in groups[3:]] == [[second_original]] * 3


def test_two_real_videos_of_one_person_are_never_confused() -> None:
    takes = [replace(REAL, video=f"Original/a{number}") for number in range(3)]
    swapped = replace(FAKE, made_from=("Original/a1",))
    all_crops = [crop for clip in (*takes, swapped) for crop in crops(clip, 9)]
    groups = pair_with_originals(samples_by_video([*takes, swapped], all_crops, 3, everybody=False))
    names = [[sample.video.video for sample in group] for group in groups]
    assert names[:3] == [[FAKE.video, "Original/a1"]] * 3
    assert sorted(names[3:]) == [["Original/a0"]] * 3 + [["Original/a2"]] * 3


@pytest.mark.parametrize("made_from", [(), ("Original/gone", "Original/a"), ("FaceSwap/b",)])
def test_a_fake_without_its_original_is_learnt_from_by_itself(made_from: tuple[str, ...]) -> None:
    """A video that contributed only the face is not its original, nor is another fake."""
    fakes = [replace(FAKE, made_from=made_from), video("FaceSwap/b", 1)]
    all_crops = [crop for clip in (REAL, *fakes) for crop in crops(clip, 9)]
    groups = pair_with_originals(samples_by_video([REAL, *fakes], all_crops, 3, everybody=False))
    assert sorted(group[0].video.video for group in groups) == [FAKE.video] * 3 + ["FaceSwap/b"] * 3 + [REAL.video] * 3
    assert {len(group) for group in groups} == {1}


def test_shares_of_frames_hold_for_what_has_no_pair() -> None:
    unpaired = video("Original/c", 0, "c")
    all_crops = crops(REAL, 8) + crops(FAKE, 8) + crops(unpaired, 8)
    groups = pair_with_originals(samples_by_video([REAL, FAKE, unpaired], all_crops, 8, everybody=False), share_of_real=0.25)
    assert [len(group) for group in groups] == [2] * 8 + [1] * 2


def test_packed_groups_are_the_same_groups() -> None:
    all_crops = crops(REAL, 9, tracks=2) + crops(FAKE, 300)
    groups = pair_with_originals(samples_by_video([REAL, FAKE], all_crops, 4, everybody=False))
    assert len({len(group) for group in groups}) == 1 < len(groups)
    groups[1] = groups[1][:1]
    assert list(SampleGroups(groups)) == groups
    samples = [sample for group in groups for sample in group]
    assert list(Samples(samples)) == samples
    assert list(Samples(samples)[1::2]) == samples[1::2]


def test_rebalancing_takes_a_share_of_the_frames_by_label() -> None:
    chosen = samples_by_video([REAL, FAKE], crops(REAL, 20) + crops(FAKE, 20), 20, everybody=False)
    labels = [group[0].video.label for group in single_crop_groups(chosen, share_of_real=1.0, share_of_fake=0.3)]
    assert (labels.count(0), labels.count(1)) == (20, 6)


@pytest.fixture
def groups(tmp_path: Path) -> TrainingDataset:
    generator = np.random.default_rng(0)
    all_crops = crops(REAL, 12, folder=tmp_path) + crops(FAKE, 12, folder=tmp_path)
    for crop in all_crops:
        crop.path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(crop.path), generator.integers(0, 255, (40, 40, 3), np.uint8))
        if crop.mask:
            crop.mask.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(crop.mask), LEFT_HALF)
    chosen = samples_by_video([REAL, FAKE], all_crops, 12, everybody=False)
    contract = InputContract(32, "rgb", 1 / 255, (0.5,) * 3, (0.25,) * 3, "stretch")
    return TrainingDataset(SampleGroups(pair_with_originals(chosen)), contract, (2, 2), build_augmentation(AUGMENTED), seed=3)


def with_lone_reals(groups: TrainingDataset, count: int) -> TrainingDataset:
    """Add `count` groups of one real picture."""
    lone = [(groups.groups[number % len(groups)][1],) for number in range(count)]
    return TrainingDataset(SampleGroups([*groups.groups, *lone]), groups.contract, (2, 2), groups.augmentation, seed=3)


@pytest.mark.parametrize("lone", [0, 12, 60])
def test_batches_are_of_about_the_size_asked_for_whatever_the_sizes_of_groups(groups: TrainingDataset, lone: int) -> None:
    mixed = with_lone_reals(groups, lone)
    sizes = [len(labels) for _, labels, _ in training_batches(mixed, 12, 0, 3, 0)]
    assert sum(sizes) == 24 + lone
    assert np.mean(sizes) == pytest.approx(12, rel=0.1)
    assert max(sizes) <= 16
    members = [ProcessGroup(rank, 2) for rank in range(2)]
    shares = [
        [len(labels) for _, labels, _ in training_batches(mixed, 12, 0, 3, 0, process_group=member)] for member in members
    ]
    assert [a + b for a, b in zip(*shares, strict=True)] == sizes


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_is_the_same_for_any_number_of_workers_and_differs_from_the_next(
    groups: TrainingDataset, workers: int
) -> None:
    expected, repeated, following = (
        [pictures for pictures, _, _ in training_batches(groups, 8, w, 3, epoch)] for w, epoch in ((0, 0), (workers, 0), (0, 1))
    )
    assert all(torch.equal(first, second) for first, second in zip(expected, repeated, strict=True))
    assert not torch.equal(expected[0], following[0])


def test_every_group_is_seen_once_an_epoch(groups: TrainingDataset) -> None:
    labels = [labels for _, labels, _ in training_batches(groups, 8, 0, 3, 0)]
    assert torch.cat(labels).tolist() == [1.0, 0.0] * 12


def test_a_mask_moves_with_its_picture(groups: TrainingDataset) -> None:
    """The mask covers the left half, or the right one if the picture is flipped; originals have no mask."""
    sides = set()
    for epoch in range(20):
        _, labels, masks = groups[epoch, 0]
        assert labels.tolist() == [1, 0]
        assert not masks[1].any()
        left, right = masks[0, :, 0].mean().item(), masks[0, :, 1].mean().item()
        assert max(left, right) > 0.8
        assert min(left, right) < 0.2
        sides.add(left > right)
    assert sides == {True, False}


def loss_of(network: nn.Module, pixels: torch.Tensor, labels: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    detection_loss = DetectionLoss(network, 0.0, (1.0, 1.0), True, EmbeddingWeights(0.0, 0.0))  # type: ignore[arg-type]
    return (detection_loss(pixels, labels, masks) / loss_counts(labels, masks).clamp(min=1)) @ torch.tensor(
        [1.0, 1.0, 0.2, 0.0]
    )


def test_a_fake_whose_truth_is_unknown_teaches_nothing_about_places(groups: TrainingDataset) -> None:
    fake, real = groups.groups[0]
    groups.groups = SampleGroups([(Sample(replace(fake.crop, masks=None), fake.video), real)])
    _, labels, masks = groups[0, 0]
    assert masks[0].isnan().all()
    network = build_network(read_yaml(CONFIG))
    masks = masks.repeat_interleave(8, 1).repeat_interleave(8, 2)
    loss = loss_of(network, torch.randn(2, 3, 128, 128), labels, masks)
    loss.backward()
    assert loss.isfinite()
    learnt = network.head.get_parameter("to_patch_logit.weight").grad
    assert learnt is not None
    assert learnt.isfinite().all()


class Gazing(nn.Module):
    """A network with constant logits and a given class-token attention."""

    def __init__(self, class_attention: torch.Tensor) -> None:
        super().__init__()
        self.class_attention = class_attention

    def forward_patches(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return torch.zeros(len(pixels)), torch.zeros_like(self.class_attention), self.class_attention


def test_of_a_fake_whose_truth_is_known_training_wants_the_changed_places_looked_at() -> None:
    corner, middle = torch.full((2, 2, 4, 4), 0.01).unbind()
    corner[:, 0, 0] = middle[:, 2, 2] = 0.85
    changed, unknown = torch.zeros(2, 4, 4), torch.full((2, 4, 4), torch.nan)
    changed[0, 2, 2] = 1  # the second picture is real

    def loss(class_attention: torch.Tensor, masks: torch.Tensor) -> float:
        return loss_of(Gazing(class_attention), torch.zeros(2, 3, 8, 8), torch.tensor([1.0, 0.0]), masks).item()

    assert loss(middle, changed) < loss(corner, changed) - 0.2
    assert loss(middle, unknown) == loss(corner, unknown)
    elsewhere = torch.stack([middle[0], corner[1]])  # the attention on a real picture does not matter
    assert loss(elsewhere, changed) == loss(middle, changed)


def test_whoever_else_is_in_the_original_is_taught_as_real_beside_the_fake() -> None:
    all_crops = [*crops(REAL, 9, tracks=2), *crops(FAKE, 9, tracks=2)]
    groups = pair_with_originals(samples_by_video([REAL, FAKE], all_crops, 3, everybody=False))
    assert len(groups) == 3
    for fake, *originals in groups:
        assert (fake.video, fake.crop.track) == (FAKE, 0)
        assert [(o.video, o.crop.track, o.crop.frame) for o in originals] == [
            (REAL, t, originals[0].crop.frame) for t in (0, 1)
        ]


def recipe(**changes: object) -> Recipe:
    return build_settings(Recipe, {**read_yaml(CONFIG)["training"], "mask_weight": 1.0, **changes}, "test")


class TinyNetwork(nn.Sequential):
    input = InputContract(32, "rgb", 1 / 255, (0.5,) * 3, (0.25,) * 3, "stretch")

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten(0))
        self.append(nn.Unflatten(0, (-1, 4))).append(nn.Linear(4, 1)).append(nn.Flatten(0))


def begun() -> Run:
    torch.manual_seed(0)
    return begin_run(TinyNetwork(), recipe(), steps_per_epoch=3, num_epochs=4)  # type: ignore[arg-type]


def trainer_of(run: Run, **changes: object) -> Trainer:
    return Trainer(run, recipe(mask_weight=0.0, attention_loss_weight=0.0, **changes), seed=3)


def train_epoch(run: Run, groups: TrainingDataset, stop_after: int | None = None) -> None:
    """Train one epoch, or `stop_after` steps of it."""
    batches = training_batches(groups, 8, 0, 3, run.epoch, run.step)
    if stop_after is not None:
        for batch in islice(batches, stop_after):
            run.record_step(trainer_of(run).step(batch))
        return
    trainer_of(run).train_epoch(batches, lambda: None, 60)
    record_epoch(run, {"val_loss": 1 / run.epoch})


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_run_that_was_stopped_in_the_middle_of_an_epoch_ends_with_the_same_bits(
    groups: TrainingDataset, tmp_path: Path, steps: int
) -> None:
    undisturbed, stopped = begun(), begun()
    for _ in range(4):
        train_epoch(undisturbed, groups)
    train_epoch(stopped, groups)
    train_epoch(stopped, groups, stop_after=steps)
    torch.save(stopped.state(), tmp_path / "state.pt")
    resumed = begun()
    resumed.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    torch.rand(1000)  # another consumer of the random generator
    for _ in range(3):
        train_epoch(resumed, groups)
    assert resumed.history == undisturbed.history
    assert all(torch.equal(resumed.best[name], weight) for name, weight in undisturbed.best.items())


def test_the_state_of_another_network_is_refused_in_words(groups: TrainingDataset) -> None:
    other_run = begin_run(nn.Linear(3, 1), recipe(), steps_per_epoch=3, num_epochs=4)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="is of another network or recipe"):
        begun().restore(other_run.state())


def test_a_batch_learnt_from_in_parts_teaches_what_the_whole_does(groups: TrainingDataset) -> None:
    """Except for batch norm and dropout, which see only a part."""
    batch = next(iter(training_batches(groups, 8, 0, 3, 0)))
    gradients = []
    for accumulation in (1, 3):
        run = begun()
        run.network.eval()
        trainer = trainer_of(run, accumulation=accumulation, clip_gradient=0.0)
        trainer.step(batch)
        gradients.append([weight.grad for weight in run.network.parameters()])
    for full, accumulated in zip(*gradients, strict=True):
        assert (full - accumulated).abs().max() < 1e-6


def test_where_memory_is_short_a_batch_is_learnt_from_in_more_parts(
    groups: TrainingDataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = next(iter(training_batches(groups, 8, 0, 3, 0)))
    trainer = trainer_of(begun())
    learn, most = trainer._backward, 3

    def with_limited_memory(*tensors: torch.Tensor) -> list[float]:
        if len(tensors[1]) / trainer.chunks > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return learn(*tensors)

    monkeypatch.setattr(trainer, "_backward", with_limited_memory)
    assert trainer.step(batch)[0] > 0
    assert trainer.chunks == 4
    assert "in 4 chunks" in capsys.readouterr().err
    most = 0
    with pytest.raises(UserError, match=r"lower training\.batch_size"):
        trainer.step(batch)


def test_the_best_epoch_is_kept_not_the_last_and_patience_counts_from_it() -> None:
    run = begun()
    kept = []
    for loss in (0.5, 0.3, 0.4, 0.35):
        run.epoch += 1
        with torch.no_grad():
            run.average.module[0].bias.fill_(loss)
        record_epoch(run, {"val_loss": loss})
        kept.append(copy.deepcopy(run.best["0.bias"][0].item()))
    assert run.best_epoch == 2
    assert kept[-1] == pytest.approx(0.3)
    assert should_stop(run, recipe(), patience=2)
    assert not should_stop(run, recipe(), patience=3)


def test_learning_rates_warm_up_and_then_fall_as_the_schedule_says() -> None:
    cosine = learning_rate_factor(recipe(warmup_epochs=1.0), 10, 5)
    assert cosine(0) < cosine(5) < cosine(10) == 1
    assert cosine(50) == pytest.approx(0)
    steps = learning_rate_factor(recipe(scheduler="steplr", warmup_epochs=0.0, step_size=2, gamma=0.1), 10, 5)
    assert [steps(step) for step in (0, 19, 20, 40)] == pytest.approx([1, 1, 0.1, 0.01])


def test_a_self_blended_face_takes_the_place_of_the_fake_beside_its_real_one(groups: TrainingDataset) -> None:
    groups.augmentation = build_augmentation({"self_blend": {"p": 1.0, "shift": 0.03, "colour": 0.2}})
    pictures, labels, masks = groups[0, 0]
    assert labels.tolist() == [1, 0]
    fake, real = pictures.float()
    assert 0 < (fake - real).abs().mean() < 20  # two random pictures differ by about 80
    assert masks[0].any()
    assert not masks[1].any()


def test_a_self_blended_face_joins_a_real_one_that_has_no_fake(groups: TrainingDataset) -> None:
    """Otherwise the real face would have no counterpart."""
    groups.augmentation = build_augmentation({"self_blend": {"p": 1.0, "shift": 0.03, "colour": 0.2}})
    real_only = TrainingDataset(
        SampleGroups([group[1:] for group in groups.groups]), groups.contract, (2, 2), groups.augmentation, seed=3
    )
    assert real_only[0, 0][1].tolist() == [0, 1]
    batches = training_batches(real_only, 8, 0, 3, 0)
    assert [len(labels) for _, labels, _ in batches] == [8] * 3
    assert count_pictures(batches) == 24


def checkpoint_of(description: dict, trained_on: list[str]) -> Checkpoint:
    return Checkpoint("patch_transformer_checkpoint3_All", description, {}, 0.4, None, trained_on, {"epoch": 3})


def test_a_checkpoint_gives_back_the_same_network_and_the_same_bytes(tmp_path: Path) -> None:
    description = read_yaml(CONFIG)
    network = build_network(description).eval()
    card = checkpoint_of(description, ["DEMO"])
    for name in ("one", "two"):
        save_checkpoint(tmp_path / name, network, card)
    loaded, loaded_card = load_checkpoint(tmp_path / "one", torch.device("cpu"))
    pixels = torch.randn(2, 3, 128, 128)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert loaded_card == card
    with torch.inference_mode():
        assert torch.equal(loaded(pixels), network(pixels))


def test_a_network_that_never_saw_real_faces_says_so() -> None:
    assert "never trained" in checkpoint_of({}, []).warning  # type: ignore[operator]
    assert "drawings only" in checkpoint_of({}, ["DEMO"]).warning  # type: ignore[operator]
    assert checkpoint_of({}, ["FACEFORENSICS"]).warning is None


def test_what_is_no_checkpoint_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"not weights")
    with pytest.raises(UserError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "x.safetensors", torch.device("cpu"))
    with pytest.raises(UserError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "none", torch.device("cpu"))
