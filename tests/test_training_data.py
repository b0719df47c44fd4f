"""Training and validation videos: a sample is balanced; both classes are required, or fakes are forged."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from little_crops import project_of_crops
from warm_commands import run_warm

from explain_deepfakes.model_test_train.networks.checkpoint import load_checkpoint
from explain_deepfakes.model_test_train.training.augmentations.augmentation import (
    NO_AUGMENTATION,
    Augmentation,
    build_augmentation,
)
from explain_deepfakes.model_test_train.training.distributed import ProcessGroup
from explain_deepfakes.model_test_train.training.params import TrainParams
from explain_deepfakes.model_test_train.training.stage import TrainingData, load_data
from explain_deepfakes.model_test_train.training.trainer import Recipe
from explain_deepfakes.model_test_train.training.video_sampling import sample_videos
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import REAL, Video, read_index, write_index
from explain_deepfakes.pipeline.params import build_settings, load_params, read_yaml
from explain_deepfakes.pipeline.project import CODE
from explain_deepfakes.preprocessing.crops.stores import read_crop


def video(method: str, stem: str, made_from: tuple[str, ...] = ()) -> Video:
    label = int(method != "Original")
    return Video(f"{method}/{stem}", method, label, "training_set", (stem,), "v.mp4", "", "hash", "IT", made_from)


METHODS = ("Deepfakes", "Face2Face", "FaceShifter", "FaceSwap", "NeuralTextures")
REALS = [video("Original", f"{number:03}") for number in range(40)]
ACTORS = [video("Original", f"{number:02}__scene") for number in range(20)]
FAKES = [video(method, real.stem, (real.video,)) for method in METHODS for real in REALS]
CORPUS = sorted([*REALS, *ACTORS, *FAKES], key=lambda item: item.video)


def counts(videos: list[Video]) -> tuple[Counter[str], Counter[int]]:
    return Counter(item.method for item in videos), Counter(item.label for item in videos)


@pytest.mark.parametrize("most", [2, 7, 20, 31, 100])
@pytest.mark.parametrize("corpus", [CORPUS, [item for item in CORPUS if item not in ACTORS]])
def test_a_part_is_of_all_methods_and_both_labels_and_no_fake_lacks_its_original(corpus: list[Video], most: int) -> None:
    subset = sample_videos(corpus, most, seed=3)
    assert most - 1 <= len(subset) <= most
    assert subset == [item for item in corpus if item in subset]
    names = {item.video for item in subset}
    assert all(item.made_from[0] in names for item in subset if item.label)
    by_method, by_label = counts(subset)
    of_fakes = [by_method[method] for method in METHODS]
    if len(subset) > 2 * len(METHODS):
        assert max(of_fakes) - min(of_fakes) <= 1
    if most < 80:  # then there are enough real videos
        assert abs(by_label[0] - by_label[1]) <= 2


def test_the_seed_decides_and_nothing_else() -> None:
    assert sample_videos(CORPUS, 20, 3) == sample_videos(CORPUS, 20, 3) != sample_videos(CORPUS, 20, 4)
    assert sample_videos(CORPUS, 10_000, 3) == CORPUS
    some = sample_videos(CORPUS, 60, 3)
    assert {item.video for item in sample_videos(CORPUS, 20, 3)} < {item.video for item in some}
    assert any(item in ACTORS for item in some)


def test_fakes_whose_originals_are_unknown_are_drawn_beside_real_ones() -> None:
    unknown = [replace(item, made_from=()) for item in CORPUS]
    by_method, by_label = counts(sample_videos(unknown, 20, 3))
    assert by_label == {0: 10, 1: 10}
    assert {by_method[method] for method in METHODS} == {2}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Video]:
    monkeypatch.chdir(project_of_crops(tmp_path / "project", 6, 2, {}, {}))
    return read_index(Path("data/index/videos.csv"))


LINES = {"self_blend": {"p": 0.5, "shift": 0.03, "colour": 0.1}, "rerender": {"p": 0.5}}
FORGING = build_augmentation(LINES)


def loaded(index: list[Video], paired: bool, augmentation: Augmentation = NO_AUGMENTATION, most: int = -1) -> TrainingData:
    recipe = build_settings(Recipe, {**read_yaml(Path("tiny.yaml"))["training"], "paired": paired}, "test")
    return load_data(index, Path("data/crops"), load_params("train", TrainParams, {"max_videos": most}), recipe, augmentation)


def without(index: list[Video], label: int) -> list[Video]:
    return [item for item in index if item.split != "training_set" or item.label != label]


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(("lacking", "message"), [(0, "only fake"), (1, "only real")])
def test_one_class_alone_is_refused_however_it_is_grouped(index: list[Video], paired: bool, lacking: int, message: str) -> None:
    with pytest.raises(UserError, match=f"the training set has crops of {message} videos"):
        loaded(without(index, lacking), paired)


@pytest.mark.parametrize("paired", [True, False])
def test_real_videos_alone_do_where_fakes_are_made_of_them(index: list[Video], paired: bool) -> None:
    assert len(loaded(without(index, 1), paired, FORGING).groups) == 6 * 2
    with pytest.raises(UserError, match="only fake"):
        loaded(without(index, 0), paired, FORGING)


def with_label(index: list[Video], label: int) -> list[Video]:
    return [item for item in index if item.label == label]


def test_real_validation_videos_get_twins_that_are_forged_of_them_the_same_way_each_time(index: list[Video]) -> None:
    real = with_label(index, REAL)
    validation, again = (loaded(real, True, FORGING).validation for _ in range(2))
    by_video = Counter((sample.video.method, sample.video.label) for sample in validation.samples)
    assert by_video == {("Original", 0): 6 * 2, ("self_blend", 1): 3 * 2, ("rerender", 1): 3 * 2}
    assert len({twin.crf for twin in validation.twins.values()}) == 3
    pictures = [validation.picture(position) for position in range(len(validation.samples))]
    assert all(np.array_equal(picture, again.picture(position)) for position, picture in enumerate(pictures))
    by_crop = {(sample.video.video, sample.crop.frame): position for position, sample in enumerate(validation.samples)}
    for (name, frame), position in by_crop.items():
        sample = validation.samples[position]
        if sample.video.label != REAL:
            original = by_crop[sample.video.made_from[0], frame]
            difference = np.abs(pictures[position].astype(int) - pictures[original])
            assert difference.max() > 5, name
            assert validation.samples[original].crop.path == sample.crop.path
    rerendered = next(video.made_from[0] for video in validation.videos if video.method == "rerender")
    assert validation.twins[rerendered].crf is None
    as_it_is = by_crop[rerendered, 0]
    assert np.array_equal(pictures[as_it_is], read_crop(validation.samples[as_it_is].crop.path))


def test_every_process_of_a_group_sees_the_same_twin(index: list[Video]) -> None:
    validation = loaded(with_label(index, REAL), True, FORGING).validation
    share = replace(validation, samples=ProcessGroup(1, 2).share(validation.samples))
    assert all(
        np.array_equal(share.picture(position), validation.picture(2 * position + 1)) for position in range(len(share.samples))
    )


def test_the_corpus_own_fakes_are_validated_on_where_there_are_any(index: list[Video]) -> None:
    validation = loaded(index, True, FORGING).validation
    assert not validation.twins
    assert all(
        np.array_equal(validation.picture(position), read_crop(sample.crop.path))
        for position, sample in enumerate(validation.samples)
    )


@pytest.mark.parametrize(
    ("label", "hint"), [(0, "or augmentation.self_blend or augmentation.rerender to forge"), (1, "; see data")]
)
def test_validation_videos_of_one_class_are_refused_where_nothing_is_forged(index: list[Video], label: int, hint: str) -> None:
    one_class = [item for item in index if item.split == "training_set" or item.label == label]
    with pytest.raises(UserError, match=f"validation_set needs crops of real and of fake videos.*{hint}"):
        loaded(one_class, True, FORGING if label else NO_AUGMENTATION)


def test_a_corpus_of_real_videos_alone_is_trained_on_to_the_end(tmp_path: Path) -> None:
    settings = {"num_epochs": 3, "patience": 3, "tensorboard": True}
    project = project_of_crops(tmp_path / "project", 4, 4, {"warmup_epochs": 0.0, "lr": 0.005}, settings)
    write_index(project / "data/index/videos.csv", with_label(read_index(project / "data/index/videos.csv"), REAL))
    description = read_yaml(project / "tiny.yaml")
    description["augmentation"] |= {**LINES, "self_blend": {**LINES["self_blend"], "p": 1.0}}
    (project / "tiny.yaml").write_text(yaml.safe_dump(description))
    result = run_warm(CODE / "model_test_train/train_model.py", [], project)
    assert "16 unpaired real" in result.stdout
    assert "32 validation crops, fakes forged from the real ones by augmentation" in result.stdout
    metrics = json.loads((project / "data/models/metrics.json").read_text())
    assert 0 <= metrics["val_auc"] <= 1
    _, card = load_checkpoint(project / "data/models/best.safetensors", torch.device("cpu"))
    assert card.calibration
    assert [len(card.calibration[name]) for name in ("real", "fake")] == [4, 4]
    assert card.provenance["validation_fakes"] == "forged of real videos by augmentation"
    assert card.threshold == pytest.approx(metrics["threshold"])


@pytest.mark.parametrize("paired", [True, False])
def test_a_few_videos_are_of_both_classes(index: list[Video], paired: bool) -> None:
    used = {sample.video for group in loaded(index, paired, most=4).groups for sample in group}
    assert sorted(item.label for item in used) == [0, 0, 1, 1]
    with pytest.raises(UserError, match=r"raise train\.max_videos"):
        loaded(index, paired, most=1)
