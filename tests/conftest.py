"""Fixtures for tests of whole stages: a separate project folder, and a small corpus that every stage has processed."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
import yaml
from little_videos import project
from warm_commands import run_warm

from explain_deepfakes.pipeline.index import read_index
from explain_deepfakes.pipeline.project import CODE

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # else parallel processes busy-wait for one another
ParamChanges = Mapping[str, Mapping[str, object]]  # section of params.yaml -> key -> value

ONE = {"threads": 1}  # other tests use the other cores
SMALL: ParamChanges = {
    "make_demo_videos": {"train_identities": 16, "val_identities": 4, "test_identities": 20, "frames": 10},
    "detect_faces": {"frames": 4},
    "train": {"num_epochs": 2, "workers": 0, **ONE},
    "test": {"bootstrap": 100, **ONE},
    "explain": ONE,
    "explain_videos": ONE,
    "evaluate_explanations": {"methods": ["relevancy", "grad_cam"], "bootstrap": 100, "road_faces": 2, **ONE},
}


class Project:
    """A folder with its own params.yaml, in which the project's commands run as a user runs them."""

    def __init__(self, folder: Path, changes: ParamChanges | None = None) -> None:
        """Create the folder with these changes to params.yaml; without changes, use an existing project folder."""
        self.folder = folder
        if changes is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(CODE / "dvc.yaml", folder)
        params = yaml.safe_load((CODE / "params.yaml").read_text())
        for section, values in changes.items():
            params[section].update(values)
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
        configs = folder / "model_test_train" / "configs"
        configs.parent.mkdir(exist_ok=True)
        if not configs.exists():
            shutil.copytree(CODE / "model_test_train" / "configs", configs)

    def run(self, script: str, *flags: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return run_warm(CODE / script, [*map(str, flags)], cwd or self.folder)

    def stage(self, script: str, *flags: object) -> str:
        """Run a script, assert that it succeeds, and return its standard output."""
        result = self.run(script, *flags)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout


STAGES = (
    "preprocessing/make_demo_videos.py",
    "preprocessing/index_videos.py",
    "preprocessing/detect_faces.py",
    "preprocessing/extract_crops.py",
    "model_test_train/train_model.py",
    "model_test_train/test_model.py",
    "explain_model/explain_model.py",
    "explain_model/explain_videos.py",
    "explain_model/evaluate_explanations.py",
    "explain_model/report.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark slow tests. Run the longest files first, then those that need the finished corpus.

    Those of Ray come last: once a process was connected to a cluster, those that it forks later may crash in Ray's library.
    """
    for item in items:
        if item.path.stem.removeprefix("test_") in SLOW.split() or "finished" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
    items.sort(
        key=lambda item: (
            item.path.name == "test_ray.py",
            item.path.name not in LONGEST,
            "finished: Project" not in text_of(item.path),
        )
    )


LONGEST = ("test_killed.py", "test_cluster.py")
# Left out by `make check`, like the tests that need a corpus after every stage: each of these files takes more than 10 seconds.
SLOW = """
    attacks buckets checkpoint_card cluster cold_start comparison crop_stores datasets demo_corpus detect_and_extract
    distributed divergence efficientnet_lite ensemble frame_folders hostile incremental jobs killed killed_anywhere
    layouts layouts_agree listed_corpora mended_dvc metrics networks onnx other_corpora page portrait_corpus protocol
    published_weights ray relevancy sandbox server_access serving strange_videos timm_backbones training_data
    training_killed video_reading
"""


@cache
def text_of(file: Path) -> str:
    return file.read_text()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A small demo corpus after every stage, which tests must not change. The first test process creates it for all."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    with (shared / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (shared / "is_finished").exists():
            return Project(shared / "finished")
        project = Project(shared / "finished", SMALL)
        for script in STAGES:
            project.stage(script)
        (shared / "is_finished").touch()
        return project


@pytest.fixture(scope="session")
def fake(finished: Project) -> Path:
    """A fake video of the finished corpus."""
    index = {video.video: video for video in read_index(finished.folder / "data/index/videos.csv")}
    return finished.folder / index["FaceSwap/022_023"].path


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for a tree, in a separate project. Files are inspected in this process, which saves starting others."""
    monkeypatch.chdir(project(tmp_path / "project"))
    monkeypatch.setattr(
        "explain_deepfakes.preprocessing.corpus.file_facts.map_unordered", lambda work, items, *_, **__: map(work, items)
    )
    root = tmp_path / "data"
    root.mkdir()
    return root
