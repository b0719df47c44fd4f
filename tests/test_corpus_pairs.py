"""Corpora in their published layouts: labels, splits, and the real video that each fake is paired with."""

from pathlib import Path

import pytest
from layout_trees import (
    CELEBRITIES,
    TESTED,
    Copies,
    Pair,
    add_json,
    add_text,
    add_video,
    make_celebdf_tree,
    make_celebdfpp_tree,
    make_deeperforensics_tree,
    make_faceforensics_with_actors_tree,
)

from explain_deepfakes.explain_model.inputs.samples import ExplainedSample, match_originals
from explain_deepfakes.model_test_train.training.data import (
    SampleGroups,
    describe_groups,
    pair_with_originals,
    samples_by_video,
)
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import DEMO_LEDGER, Index, Video, read_index, write_index
from explain_deepfakes.pipeline.params import load_params
from explain_deepfakes.preprocessing.corpus.corpus import read_corpus
from explain_deepfakes.preprocessing.corpus.params import CorpusParams
from explain_deepfakes.preprocessing.crops.crops import Crop, Window
from explain_deepfakes.preprocessing.demo_corpus.corpus import plan_corpus
from explain_deepfakes.preprocessing.demo_corpus.manipulations import METHODS
from explain_deepfakes.preprocessing.demo_corpus.params import DemoVideoParams

TRAIN, VAL, TEST = "training_set", "validation_set", "test_set"


@pytest.fixture
def videos(tmp_path: Path) -> list[Pair]:
    """Videos without faces: the index depends on names only."""
    return [(add_video(tmp_path / "videos/real.mp4"), add_video(tmp_path / "videos/fake.mp4"))]


def indexed(root: Path, dataset: str) -> dict[str, Video]:
    """Index the corpus and read the index back from the file."""
    corpus = read_corpus(load_params("index_videos", CorpusParams, {"data_path": root, "dataset": "AUTO", "workers": 1}))
    corpus.check_leaks()
    assert corpus.tree.dataset == dataset
    assert not corpus.missing
    write_index(Path("index.csv"), corpus.videos)
    assert read_index(Path("index.csv")) == corpus.videos
    for split in (TRAIN, VAL, TEST):
        assert {video.label for video in corpus.videos if video.split == split} == {0, 1}
    return {video.video: video for video in corpus.videos}


def made_from(videos: dict[str, Video]) -> dict[str, tuple[str, ...]]:
    assert not any(video.made_from for video in videos.values() if video.label == 0)
    return {name: video.made_from for name, video in videos.items() if video.label == 1}


def crops_of(videos: dict[str, Video], frames: int) -> list[Crop]:
    return [
        Crop(name, frame, 0, f"{frame}_0.png", Window(0, 0, 8, 8), Path("crops")) for name in videos for frame in range(frames)
    ]


def paired(videos: dict[str, Video]) -> tuple[set[tuple[str, str]], set[str]]:
    """Return the pairs of videos that training puts into one group, and the unpaired videos."""
    training = [video for video in videos.values() if video.split == TRAIN]
    groups = pair_with_originals(samples_by_video(training, crops_of(videos, 4), 2, everybody=False))
    assert {sample.video.video for group in groups for sample in group} == {video.video for video in training}
    names = [tuple(sample.video.video for sample in group) for group in groups]
    return {(first, second) for first, second in (group for group in names if len(group) == 2)}, {
        n[0] for n in names if len(n) == 1
    }


def beside(videos: dict[str, Video]) -> dict[str, str]:
    """Return the original that each fake is shown beside."""
    samples = [
        ExplainedSample(video, Crop(video.video, 0, 0, "0_0.png", Window(0, 0, 8, 8), Path("crops")), 0.5, 0.5, "fake", "TP")
        for video in videos.values()
    ]
    originals = match_originals(samples, [*videos.values()], crops_of(videos, 1))
    return {sample.video.video: originals[sample.name].video for sample in samples if sample.name in originals}


CELEBDF = {
    f"id{person}_id{person ^ 1}_{number:04}": f"Original/id{person}_{number:04}"
    for person in CELEBRITIES
    for number in range(2)
}


@pytest.mark.parametrize(
    ("make", "methods"),
    [(make_celebdf_tree, ["Celeb-synthesis"]), (make_celebdfpp_tree, ["Celeb-DF", "DaGAN", "SadTalker"])],
)
def test_each_fake_of_celebdf_belongs_to_the_very_video_it_was_made_of(data, videos, make, methods) -> None:
    index = indexed(make(data, videos), "CELEBDF")
    expected = {f"{method}/{fake}": original for method in methods for fake, original in CELEBDF.items()}
    assert made_from(index) == {fake: (original,) for fake, original in expected.items()}
    assert beside(index) == expected
    tested = {name for name, video in index.items() if video.split == TEST and "id" in name}
    assert {int(name.split("/id")[1].split("_")[0]) for name in tested} == set(TESTED)
    together, unpaired = paired(index)
    assert together == {(fake, original) for fake, original in expected.items() if index[fake].split == TRAIN}
    assert unpaired == {name for name, video in index.items() if video.split == TRAIN} - {n for both in together for n in both}
    assert any(name.startswith("Original/0000") for name in unpaired)  # people of YouTube, of whom there are no fakes


def test_the_actors_of_deeperforensics_are_real_and_its_fakes_belong_to_their_targets(data, videos) -> None:
    index = indexed(make_deeperforensics_tree(data, videos), "DEEPERFORENSICS")
    actor = index["Original/M101_light_uniform_happy_camera_front"]
    assert (actor.label, actor.identities, actor.split) == (0, ("M101",), TRAIN)
    expected = {
        f"{variant}/{number:03}_M{101 + number}": f"Original/{number:03}"
        for variant in ("end_to_end", "end_to_end_level_1")
        for number in range(12)
    }
    assert made_from(index) == {fake: (original,) for fake, original in expected.items()}
    assert beside(index) == expected
    assert [index[f"end_to_end/{n:03}_M{101 + n}"].split for n in range(12)] == [TRAIN] * 6 + [VAL] * 3 + [TEST] * 3
    together, unpaired = paired(index)
    assert together == {(fake, original) for fake, original in expected.items() if index[fake].split == TRAIN}
    assert len(unpaired) == 2 * 6  # the actors


def test_without_their_targets_fakes_are_trained_on_beside_the_actors(data, videos) -> None:
    index = indexed(make_deeperforensics_tree(data, videos, with_targets=False), "DEEPERFORENSICS")
    assert beside(index) == {}
    together, unpaired = paired(index)
    assert not together
    assert unpaired == {name for name, video in index.items() if video.split == TRAIN}


def test_actors_of_faceforensics_are_paired_scene_by_scene(data, videos) -> None:
    index = indexed(make_faceforensics_with_actors_tree(data, videos), "FACEFORENSICS")
    assert index["FaceSwap/003_002"].made_from == ("Original/003", "Original/002")
    expected = {name: video.made_from[0] for name, video in index.items() if video.label}
    assert expected["DeepFakeDetection/03_04__kitchen_pan__YVGY8LOK"] == "Original/03__kitchen_pan"
    assert expected["FaceSwap/003_002"] == "Original/003"
    assert beside(index) == expected
    together, unpaired = paired(index)
    assert together == {(fake, original) for fake, original in expected.items() if index[fake].split == TRAIN}
    assert unpaired
    assert all(name.endswith("__exit_phone_room") for name in unpaired)  # scenes without fakes


def test_fakes_of_the_demo_belong_to_the_person_they_show(data, videos) -> None:
    people = DemoVideoParams(0, 4, 2, 2, frames=1, fps=12, height=96, width=96, crf=19, strength=1.0, workers=1)
    sequences, splits = plan_corpus(people)
    copies = Copies(data, videos)
    for sequence in sequences:
        copies.real(sequence.original)
        for method in METHODS if sequence.source is not None else ():
            copies.fake(sequence.fake(method), of=sequence.name)
    for split, names in splits.items():
        add_json(data / f"splits/{split}.json", names)
    add_text(data / DEMO_LEDGER)
    index = indexed(data, "DEMO")
    assert index["FaceSwap/003_002"].made_from == ("Original/003", "Original/002")
    together, unpaired = paired(index)
    assert not unpaired
    assert together == {(f"{method}/{n:03}_{n ^ 1:03}", f"Original/{n:03}") for method in METHODS for n in range(4)}


def test_what_training_learns_from_is_counted(data, videos) -> None:
    index = indexed(make_celebdf_tree(data, videos), "CELEBDF")
    training = [video for video in index.values() if video.split == TRAIN]
    together, unpaired = paired(index)
    groups = SampleGroups(pair_with_originals(samples_by_video(training, crops_of(index, 4), 2, everybody=False)))
    summary = f"{2 * len(together)} fakes paired with their original, 0 unpaired fakes, {2 * len(unpaired)} unpaired real"
    pictures = f"{2 * len(together) + 2 * len(unpaired)} real and {2 * len(together)} fake pictures"
    assert describe_groups(groups) == f"{len(groups)} training groups ({summary}); {pictures}"


def test_celebdf_with_a_folder_of_videos_in_each_folder_is_the_same(data, videos) -> None:
    flat = indexed(make_celebdf_tree(data, videos), "CELEBDF")
    for folder in [path for path in data.iterdir() if path.is_dir()]:
        (folder / "videos").mkdir()
        for path in folder.glob("*.mp4"):
            path.rename(folder / "videos" / path.name)
        add_text(folder / "frames/id0_0000/000.png")
    moved = indexed(data, "CELEBDF")
    assert [(v.video, v.split, v.made_from) for v in moved.values()] == [(v.video, v.split, v.made_from) for v in flat.values()]


def test_names_with_spaces_and_bars_come_back_from_the_index(tmp_path: Path) -> None:
    names = ("Original/our holiday, part 2", "Original/a | b", "Original/ c /".rstrip("/"))
    segments = ((0.25, 3.0), (10.5, 12.0))
    fake = Video("Swap/x y", "Swap", 1, TRAIN, ("a", "b"), "x.mp4", "", "hash", "FOLDER", names, "frames", segments)
    write_index(tmp_path / "index.csv", [fake])
    assert read_index(tmp_path / "index.csv") == [fake]


def test_an_index_of_an_older_version_is_refused_in_one_line(tmp_path: Path) -> None:
    path = add_text(tmp_path / "videos.csv", "video,method,label,split,identities,path,mask,content,dataset\n")
    with pytest.raises(
        UserError, match=r"old format without made_from, kind, segments, frame_rate; run .*index_videos\.py again"
    ):
        Index(path)
