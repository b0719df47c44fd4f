"""The standard protocol on toy datasets of different layouts: one command, one table, and another dataset retrains nothing."""

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from conftest import Project
from layout_trees import FF_METHODS, Copies, Pair, add_json, add_youtube_videos, face_pairs, make_celebdf_tree
from little_dag import TINY, dag, repro
from warm_commands import warm_python

from explain_deepfakes.model_test_train.networks.network import read_description
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import Video, read_index, select_dataset
from explain_deepfakes.pipeline.project import CODE

DF40_METHODS = ("simswap", "fsgan", "wav2lip")
TRAINED, VALIDATED, TESTED = (30, 31, 32), (39, 47), (20, 21)  # people of DF40; the hash of 39 and 47 is that of validation
TABLE = "results/protocol_tables/FaceForensics++"


def make_faceforensics(root: Path, videos: list[Pair]) -> Path:
    add_youtube_videos(Copies(root, videos), {"train": range(4), "val": range(4, 6), "test": range(6, 10)})
    return root


def make_folder(root: Path, videos: list[Pair]) -> Path:
    copies = Copies(root, videos)
    for number in range(3):
        copies.real(f"real/film{number}.mp4")
        copies.fake(f"fake/film{number}_fake.mp4", of=f"film{number}")
    return root


def make_dfdc(root: Path, videos: list[Pair]) -> Path:
    copies = Copies(root, videos)
    labels = {}
    for number in range(3):
        copies.real(f"dfdc_train_part_0/real{number}.mp4")
        copies.fake(f"dfdc_train_part_0/fake{number}.mp4", of=f"real{number}")
        labels[f"real{number}.mp4"] = {"label": "REAL", "split": "train", "original": None}
        labels[f"fake{number}.mp4"] = {"label": "FAKE", "split": "train", "original": f"real{number}.mp4"}
    add_json(root / "dfdc_train_part_0/metadata.json", labels)
    return root


@pytest.fixture(scope="module")
def python() -> Iterator[str]:
    with warm_python() as python:
        yield python


def protocol_project(folder: Path, python: str, settings: Mapping[str, object]) -> Project:
    """A project with a network that is small enough to be trained in a second."""
    train = {"config": "tiny.yaml", "num_epochs": 1, "workers": 0, "threads": 1, "tensorboard": False}
    project = dag(folder, {**TINY, "train": train, "protocol": settings}, python=python)
    description = read_description(CODE / "model_test_train/configs/patch_transformer.yaml")
    description["input"]["size"] = 32
    description["training"] |= {"frames_per_video": 2, "batch_size": 16}
    (project.folder / "tiny.yaml").write_text(yaml.safe_dump(description))
    (project.folder / "model_test_train/pretrained.yaml").write_text((CODE / "model_test_train/pretrained.yaml").read_text())
    return project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, python: str) -> Project:
    folder = tmp_path_factory.mktemp("protocol")
    pairs = face_pairs(folder / "filmed", 4)
    trees = {
        "FaceForensics++": {"data_path": str(make_faceforensics(folder / "faceforensics", pairs)), "compression": "c23"},
        "Celeb-DF-v2": {"data_path": str(make_celebdf_tree(folder / "celebdf", pairs))},
        "DFD": {"data_path": str(make_folder(folder / "folder", pairs)), "splits": "test"},
    }
    make_dfdc(folder / "dfdc", pairs)
    settings = {"datasets": trees, "train_on": ["FaceForensics++"], "seeds": [0, 1], "test_on": [*trees]}
    return protocol_project(folder / "project", python, settings)


def run_protocol(project: Project) -> str:
    running = repro(project.folder, "protocol_table")
    output, _ = running.communicate()
    assert running.returncode == 0, output
    return output


def make_df40(root: Path) -> Path:
    """Crops of two methods: training and test halves of FaceForensics++, and tests of Celeb-DF."""
    noise = np.random.default_rng(0)

    def add_crops(folder: str) -> None:
        for number in range(2):
            path = root / folder / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), noise.integers(0, 255, (40, 40, 3), np.uint8))

    for person in (*TRAINED, *VALIDATED, *TESTED):
        add_crops(f"FaceForensics++/original_sequences/youtube/c23/frames/{person:03}")
    for method in DF40_METHODS:
        for person in (*TRAINED, *VALIDATED):
            add_crops(f"DF40_train/{method}/frames/{person:03}_{person + 500:03}")
        for person in TESTED:
            add_crops(f"DF40/{method}/ff/frames/{person:03}_{person + 500:03}")
            add_crops(f"DF40/{method}/cdf/frames/id{person}_id{person + 1}_0000")
    for person in TESTED:
        add_crops(f"Celeb-DF-v2/Celeb-real/frames/id{person}_0000")
    return root


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_command_makes_the_table_and_another_dataset_trains_nothing(project: Project) -> None:
    output = run_protocol(project)
    assert len(re.findall(r"Running stage 'train_protocol@", output)) == 2  # a network for each seed
    assert not re.search(r"Running stage '(make_demo_videos|train)'", output)
    table = rows(project.folder / TABLE / "table.csv")
    assert {(row["methods"], row["seed"], row["tested_on"]) for row in table} == {
        ("All", seed, name) for seed in "01" for name in ("FaceForensics++", "Celeb-DF-v2", "DFD")
    }
    assert all(0 <= float(row["frame_auc"]) <= 1 and 0 <= float(row["video_auc"]) <= 1 for row in table)
    of_dfd = [row for row in table if row["tested_on"] == "DFD"]
    assert all(float(row["video_auc_low"]) <= float(row["video_auc"]) <= float(row["video_auc_high"]) for row in of_dfd)
    assert [row["videos"] for row in of_dfd] == ["6", "6"]  # all of its videos
    page = (project.folder / TABLE / "table.md").read_text()
    assert "| Xception | DeepfakeBench (2023) | frame | 0.7365 | 0.8163 |" in page
    assert "- DFD: all videos; here 6 videos have a verdict." in page
    assert "## Seeds" in page
    by_method = rows(project.folder / TABLE / "methods.csv")
    assert {row["method"] for row in by_method if row["tested_on"] == "FaceForensics++"} == {*FF_METHODS}

    assert "Running stage" not in run_protocol(project)

    params = yaml.safe_load((project.folder / "params.yaml").read_text())
    params["protocol"]["datasets"]["DFDC"] = {"data_path": str(project.folder.parent / "dfdc"), "splits": "test"}
    params["protocol"]["test_on"].append("DFDC")
    (project.folder / "params.yaml").write_text(yaml.safe_dump(params))
    running = re.findall(r"Running stage '(\w+)", run_protocol(project))
    assert running == ["index_dataset", "crop_dataset", "test_protocol", "test_protocol", "protocol_table"]
    assert len(rows(project.folder / TABLE / "table.csv")) == 8


def test_a_manipulation_can_be_left_out_of_training(project: Project) -> None:
    videos = read_index(project.folder / "data/datasets/FaceForensics++/index/videos.csv")
    assert methods_of(select_dataset(videos, "All-but-Deepfakes")) == {"Original", "FaceSwap"}
    assert methods_of(select_dataset(videos, "Deepfakes")) == {"Original", "Deepfakes"}
    assert methods_of(select_dataset(videos, "All")) == {"Original", *FF_METHODS}


def test_several_manipulations_can_be_selected(project: Project) -> None:
    videos = read_index(project.folder / "data/datasets/FaceForensics++/index/videos.csv")
    assert methods_of(select_dataset(videos, "Deepfakes+FaceSwap")) == {"Original", *FF_METHODS}
    assert methods_of(select_dataset(videos, "All-but-Deepfakes+FaceSwap")) == {"Original"}
    with pytest.raises(UserError, match="dataset 'FaceShifter' is not in the index; available: All, Deepfakes, "):
        select_dataset(videos, "Deepfakes+FaceShifter")


def test_df40_trains_on_some_methods_of_one_domain_and_tests_on_others(tmp_path: Path, python: str) -> None:
    data = str(make_df40(tmp_path / "df40"))
    trees = {f"DF40-{domain}": {"data_path": data, "domain": domain} for domain in ("ff", "cdf")}
    settings = {"datasets": trees, "train_on": ["DF40-ff"], "methods": ["simswap+fsgan"], "test_on": [*trees]}
    project = protocol_project(tmp_path / "project", python, settings)
    run_protocol(project)
    index = read_index(project.folder / "data/datasets/DF40-ff/index/videos.csv")
    for split in ("training_set", "validation_set"):
        selected = [video for video in select_dataset(index, "simswap+fsgan") if video.split == split]
        assert methods_of(selected) == {"Original", "simswap", "fsgan"}
    by_method = rows(project.folder / "results/protocol_tables/DF40-ff/methods.csv")
    assert {(row["tested_on"], row["method"], row["videos"]) for row in by_method if row["method"] != "Original"} == {
        (name, method, "4") for name in trees for method in DF40_METHODS
    }  # each has two fakes, and the two real videos of its domain


def methods_of(videos: list[Video]) -> set[str]:
    return {video.method for video in videos}
