"""The standard protocol on toy datasets of different layouts: one command, one table, and another dataset retrains nothing."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import Project
from layout_trees import FF_METHODS, Copies, Pair, add_json, add_youtube_videos, face_pairs, make_celebdf_tree
from little_dag import TINY, dag, repro
from warm_commands import warm_python

from explain_deepfakes.model_test_train.networks.network import read_description
from explain_deepfakes.pipeline.index import Video, read_index, select_dataset
from explain_deepfakes.pipeline.project import CODE

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
    train = {"config": "tiny.yaml", "num_epochs": 1, "workers": 0, "threads": 1, "tensorboard": False}
    project = dag(folder / "project", {**TINY, "train": train, "protocol": settings}, python=python)
    description = read_description(CODE / "model_test_train/configs/patch_transformer.yaml")
    description["input"]["size"] = 32
    description["training"] |= {"frames_per_video": 2, "batch_size": 16}
    (project.folder / "tiny.yaml").write_text(yaml.safe_dump(description))
    (project.folder / "model_test_train/pretrained.yaml").write_text((CODE / "model_test_train/pretrained.yaml").read_text())
    return project


def run_protocol(project: Project) -> str:
    running = repro(project.folder, "protocol_table")
    output, _ = running.communicate()
    assert running.returncode == 0, output
    return output


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


def methods_of(videos: list[Video]) -> set[str]:
    return {video.method for video in videos}
