"""Which videos a run learns from: a part of them is drawn evenly, and both classes are needed."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from little_crops import project_of_crops

from model_test_train.train_model import Params, TrainingData, load_data
from model_test_train.training import Recipe
from model_test_train.video_sampling import sample_videos
from pipeline.errors import UserError
from pipeline.index import Video, read_index
from pipeline.params import build, load_params, read_yaml


def video(method: str, stem: str, made_from: tuple[str, ...] = ()) -> Video:
    label = int(method != "Original")
    return Video(f"{method}/{stem}", method, label, "training_set", (stem,), "v.mp4", "", "hash", "IT", made_from)


METHODS = ("Deepfakes", "Face2Face", "FaceShifter", "FaceSwap", "NeuralTextures")
REALS = [video("Original", f"{number:03}") for number in range(40)]
ACTORS = [video("Original", f"{number:02}__scene") for number in range(20)]
FAKES = [video(method, one.stem, (one.video,)) for method in METHODS for one in REALS]
CORPUS = sorted([*REALS, *ACTORS, *FAKES], key=lambda one: one.video)


def counts(videos: list[Video]) -> tuple[Counter[str], Counter[int]]:
    return Counter(one.method for one in videos), Counter(one.label for one in videos)


@pytest.mark.parametrize("most", [2, 7, 20, 31, 100])
@pytest.mark.parametrize("corpus", [CORPUS, [one for one in CORPUS if one not in ACTORS]])
def test_a_part_is_of_all_methods_and_both_labels_and_no_fake_lacks_its_original(corpus: list[Video], most: int) -> None:
    part = sample_videos(corpus, most, seed=3)
    assert most - 1 <= len(part) <= most
    assert part == [one for one in corpus if one in part]
    names = {one.video for one in part}
    assert all(one.made_from[0] in names for one in part if one.label)
    by_method, by_label = counts(part)
    of_fakes = [by_method[method] for method in METHODS]
    if len(part) > 2 * len(METHODS):
        assert max(of_fakes) - min(of_fakes) <= 1
    if most < 80:  # then there are real ones enough
        assert abs(by_label[0] - by_label[1]) <= 2


def test_the_seed_decides_and_nothing_else() -> None:
    assert sample_videos(CORPUS, 20, 3) == sample_videos(CORPUS, 20, 3) != sample_videos(CORPUS, 20, 4)
    assert sample_videos(CORPUS, 10_000, 3) == CORPUS
    some = sample_videos(CORPUS, 60, 3)
    assert {one.video for one in sample_videos(CORPUS, 20, 3)} < {one.video for one in some}
    assert any(one in ACTORS for one in some)


def test_fakes_whose_originals_are_unknown_are_drawn_beside_real_ones() -> None:
    unknown = [replace(one, made_from=()) for one in CORPUS]
    by_method, by_label = counts(sample_videos(unknown, 20, 3))
    assert by_label == {0: 10, 1: 10}
    assert {by_method[method] for method in METHODS} == {2}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Video]:
    monkeypatch.chdir(project_of_crops(tmp_path / "project", 6, 2, {}, {}))
    return read_index(Path("data/index/videos.csv"))


def loaded(index: list[Video], paired: bool, forges: bool = False, most: int = -1) -> TrainingData:
    recipe = build(Recipe, {**read_yaml(Path("tiny.yaml"))["training"], "paired": paired}, "test")
    return load_data(index, Path("data/crops"), load_params("train", Params, {"max_videos": most}), recipe, forges)


def without(index: list[Video], label: int) -> list[Video]:
    return [one for one in index if one.split != "training_set" or one.label != label]


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(("lacking", "found"), [(0, "only fake"), (1, "only real")])
def test_one_class_alone_is_refused_however_it_is_grouped(index: list[Video], paired: bool, lacking: int, found: str) -> None:
    with pytest.raises(UserError, match=f"the training set has crops of {found} videos"):
        loaded(without(index, lacking), paired)


@pytest.mark.parametrize("paired", [True, False])
def test_real_videos_alone_do_where_fakes_are_made_of_them(index: list[Video], paired: bool) -> None:
    assert len(loaded(without(index, 1), paired, forges=True).groups) == 6 * 2
    with pytest.raises(UserError, match="only fake"):
        loaded(without(index, 0), paired, forges=True)


@pytest.mark.parametrize("paired", [True, False])
def test_a_few_videos_are_of_both_classes(index: list[Video], paired: bool) -> None:
    used = {sample.video for group in loaded(index, paired, most=4).groups for sample in group}
    assert sorted(one.label for one in used) == [0, 0, 1, 1]
    with pytest.raises(UserError, match=r"raise train\.max_videos"):
        loaded(index, paired, most=1)
