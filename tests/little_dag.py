"""The real DAG in a folder of its own, on a corpus so small that it can be run again and again."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from conftest import ONE, Project

from pipeline.project import CODE

DVC = (sys.executable, "-m", "pipeline.mended_dvc")  # as `make repro` does
TINY = {
    "make_demo_videos": {"train_identities": 4, "val_identities": 2, "test_identities": 2, "frames": 6, "workers": 1},
    "detect_faces": {"frames": 2, "workers": 1},
    "extract_crops": {"workers": 1},
    "train": {"num_epochs": 2, "workers": 0, **ONE},
    "test": {"bootstrap": 20, **ONE},
    "explain": ONE,
    "explain_videos": ONE,
    "evaluate_explanations": {"methods": ["relevancy"], "bootstrap": 20, "road_faces": 1, **ONE},
}


def dag(folder: Path, changes: dict[str, dict[str, Any]] = TINY, python: str = sys.executable) -> Project:
    """A project whose DAG is the real one, with its commands and code where they are."""
    project = Project(folder, changes)
    stages = yaml.safe_load((CODE / "dvc.yaml").read_text())
    for stage in stages["stages"].values():
        stage["cmd"] = f"{python} {CODE / stage['cmd'].split()[1]}"
        code = ("preprocessing/", "pipeline/", "model_test_train/", "explain_model/")
        stage["deps"] = [dep for dep in stage.get("deps", []) if not dep.startswith(code)]
    (folder / "dvc.yaml").write_text(yaml.safe_dump(stages, sort_keys=False))
    subprocess.run([*DVC, "init", "--no-scm", "--quiet"], cwd=folder, check=True)
    return project


def repro(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*DVC, "repro"],
        cwd=folder,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=os.setpgrp,  # a group to be killed, yet in our session: the stages' processes join it
    )


def outputs(folder: Path) -> dict[str, dict[str, str]]:
    """What dvc.lock says of each stage's outputs."""
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    return {name: {out["path"]: out["md5"] for out in stage["outs"]} for name, stage in stages.items()}
