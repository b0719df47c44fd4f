"""Four corpora in their published layouts in one project: every step runs, and none changes another corpus's results."""

import csv
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import yaml
from conftest import Project
from layout_trees import (
    Pair,
    face_pairs,
    make_celebdf_tree,
    make_celebdfpp_tree,
    make_deeperforensics_tree,
    make_faceforensics_with_actors_tree,
)

from explain_deepfakes.model_test_train.networks.network import read_description
from explain_deepfakes.pipeline.index import FAKE, Video, original_of, read_index
from explain_deepfakes.pipeline.project import CODE
from explain_deepfakes.preprocessing.crops.crops import read_crops

TREES: dict[str, Callable[[Path, Iterable[Pair]], Path]] = {
    "CELEBDF": make_celebdf_tree,
    "CELEBDFPP": make_celebdfpp_tree,
    "DEEPERFORENSICS": make_deeperforensics_tree,
    "FACEFORENSICS": make_faceforensics_with_actors_tree,
}
QUICK = ("--frames", 2, "--workers", 2)


def project_with_small_network(folder: Path) -> Project:
    common = {"threads": 1, "device": "cpu"}
    train = {"config": "tiny.yaml", "num_epochs": 1, "workers": 0, "tensorboard": False, **common}
    project = Project(folder, {"train": train, "test": {"bootstrap": 20, **common}, "explain": common})
    description = read_description(CODE / "model_test_train/configs/patch_transformer.yaml")
    description["input"]["size"] = 32
    description["training"] |= {"frames_per_video": 2, "batch_size": 16}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(description))
    return project


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def originals_expected(name: str, fake: Video) -> str:
    """Return the expected original by the corpus's naming rule."""
    target, source = fake.stem.split("_")[:2]
    if name.startswith("CELEBDF"):
        return f"Original/{target}_{fake.stem.split('_')[2]}"
    if fake.method == "DeepFakeDetection":
        return f"Original/{target}__{fake.stem.split('__')[1]}"
    assert source
    return f"Original/{target}"


def crops_of(data: Path, videos: set[str]) -> int:
    return sum(crop.video in videos for crop in read_crops(data))


def refuse_to_overwrite(project: Project, results: Path, corpus: Path, data: Path, checkpoint: tuple, tests: Path) -> None:
    """Assert that each command refuses to overwrite the results of another corpus."""
    commands = {
        "models": ("model_test_train/train_model.py",),
        "tests": ("model_test_train/test_model.py", *checkpoint),
        "explanation": ("explain_model/explain_model.py", *checkpoint, "--tests", tests),
    }
    for folder, (script, *flags) in commands.items():
        result = project.run(script, *flags, "--crops", data, "--output_path", results / folder)
        assert result.returncode == 2, result.stdout
        assert f"holds the results of the corpus in {corpus}, but this run uses the corpus in {data}" in result.stderr
        assert "--replace" in result.stderr


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("corpora")
    pairs = face_pairs(folder / "filmed", 4)
    return {name: make(folder / name.lower(), pairs) for name, make in TREES.items()}


def test_each_corpus_goes_through_every_step_beside_the_others(corpora: dict[str, Path], tmp_path: Path) -> None:
    project = project_with_small_network(tmp_path / "project")
    for name, data in corpora.items():
        other_corpora = {other_name: hashes(folder) for other_name, folder in corpora.items() if other_name != name}
        results_before = {other_name: hashes(tmp_path / "project/results" / other_name) for other_name in corpora}
        results = project.folder / "results" / name
        project.stage("preprocessing/index_videos.py", "--data_path", data)
        project.stage("preprocessing/preprocess.py", "--data_path", data, *QUICK)
        output = project.stage("model_test_train/train_model.py", "--crops", data, "--output_path", results / "models")
        checkpoint = ("--model_path", results / "models/best.safetensors")
        tests, explained = ("--crops", data, "--output_path", results / "tests"), ("--output_path", results / "explanation")
        project.stage("model_test_train/test_model.py", *checkpoint, *tests)
        project.stage("explain_model/explain_model.py", *checkpoint, "--crops", data, "--tests", results / "tests", *explained)

        videos = {video.video: video for video in read_index(data / "index/videos.csv")}
        fakes = [video for video in videos.values() if video.label == FAKE]
        pairs = {fake.video: original.video for fake in fakes if (original := original_of(fake, videos))}
        assert pairs == {fake.video: originals_expected(name, fake) for fake in fakes}
        in_training = [video for video in videos.values() if video.split == "training_set"]
        of_pairs = {video.video for video in in_training if video.label == FAKE}
        unpaired = [v for v in in_training if v.label != FAKE and v.video not in {pairs[fake] for fake in of_pairs}]
        assert unpaired
        in_pairs, lone = crops_of(data, of_pairs), crops_of(data, {video.video for video in unpaired})
        assert f"({in_pairs} fakes paired with their original, 0 unpaired fakes, {lone} unpaired real)" in output
        tested = {video.video for video in videos.values() if video.split == "test_set"}
        assert {row["video"] for row in rows(results / "tests/videos.csv")} == tested
        beside = {row["video"]: row["pair"] for row in rows(results / "explanation/explanations.csv")}
        assert {video for video, pair in beside.items() if pair} == {fake for fake in pairs if fake in tested}

        for other_name in (candidate for candidate in other_corpora if (project.folder / "results" / candidate).is_dir()):
            refuse_to_overwrite(
                project, project.folder / "results" / other_name, corpora[other_name], data, checkpoint, results / "tests"
            )

        assert {other_name: hashes(corpora[other_name]) for other_name in other_corpora} == other_corpora
        assert all(
            hashes(tmp_path / "project/results" / other_name) == results_before[other_name] for other_name in other_corpora
        )
    assert not (project.folder / "data/crops").exists()
    assert not (project.folder / "data/index").exists()
