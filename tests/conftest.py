"""What the tests of whole stages share: a project folder of its own, and a small corpus that went through the stages once."""

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from warm_commands import run_warm
from xdist.scheduler import LoadScopeScheduling

from pipeline.index import read_index
from pipeline.project import CODE

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # else processes side by side wait for one another at full speed
Run = Callable[..., subprocess.CompletedProcess[str]]

SMALL: dict[str, dict[str, Any]] = {
    "make_demo_videos": {"train_identities": 16, "val_identities": 4, "test_identities": 20, "frames": 10},
    "detect_faces": {"frames": 4},
    "train": {"num_epochs": 2, "workers": 0},
    "test": {"bootstrap": 100},
    "evaluate_explanations": {"methods": ["relevancy", "grad_cam"], "bootstrap": 100, "road_faces": 2},
}


class Project:
    """A folder with its own params.yaml, in which the project's commands run as a user would run them."""

    def __init__(self, folder: Path, changes: dict[str, dict[str, Any]]) -> None:
        self.folder = folder
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
        """Runs it, and expects it to end well; returns what it printed."""
        done = self.run(script, *flags)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


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
    """The longest first: else one process is left alone with it at the end."""
    items.sort(key=lambda item: (item.path.name not in LONGEST, not reads_the_small_corpus(item.path)))


LONGEST = ("test_killed.py", "test_cluster.py")


class ByFile(LoadScopeScheduling):
    """The tests of a file run in one of the processes, and all files that read the small corpus in one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return "finished" if reads_the_small_corpus(CODE / file) else file


@cache
def reads_the_small_corpus(file: Path) -> bool:
    return "finished: Project" in file.read_text()


@pytest.hookimpl(optionalhook=True)  # there is no such hook where xdist is switched off
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return ByFile(config, log)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A small demo corpus after every stage; tests read it and leave it as it is."""
    project = Project(tmp_path_factory.mktemp("finished"), SMALL)
    for script in STAGES:
        project.stage(script)
    return project


@pytest.fixture(scope="session")
def fake(finished: Project) -> Path:
    """A fake's video of that corpus."""
    index = {one.video: one for one in read_index(finished.folder / "data/index/videos.csv")}
    return finished.folder / index["FaceSwap/022_023"].path
