"""The real DAG in a separate folder, on a corpus so small that it can be run repeatedly."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml
from conftest import ONE, ParamChanges, Project

from explain_deepfakes.pipeline.project import CODE
from explain_deepfakes.pipeline.stage_code import body_of

DVC = (sys.executable, "-m", "explain_deepfakes.pipeline.mended_dvc")  # as `make repro` does
TINY: dict[str, Mapping[str, object]] = {
    "make_demo_videos": {"train_identities": 4, "val_identities": 2, "test_identities": 2, "frames": 6, "workers": 1},
    "detect_faces": {"frames": 2, "workers": 1},
    "extract_crops": {"workers": 1},
    "train": {"num_epochs": 2, "workers": 0, **ONE},
    "test": {"bootstrap": 20, **ONE},
    "explain": ONE,
    "explain_videos": ONE,
    "evaluate_explanations": {"methods": ["relevancy"], "bootstrap": 20, "road_faces": 1, **ONE},
}


def dag(folder: Path, changes: ParamChanges = TINY, python: str = sys.executable) -> Project:
    """Create a project with the real DAG, whose commands run the code of this checkout."""
    project = Project(folder, changes)
    stages = yaml.safe_load((CODE / "dvc.yaml").read_text())
    for stage in map(body_of, stages["stages"].values()):
        _, script, *flags = stage["cmd"].split(" ", 2)
        stage["cmd"] = " ".join((python, str(CODE / script), *flags))
        code = ("preprocessing/", "pipeline/", "model_test_train/", "explain_model/")
        stage["deps"] = [dep for dep in stage.get("deps", []) if not dep.startswith(code)]
    (folder / "dvc.yaml").write_text(yaml.safe_dump(stages, sort_keys=False))
    subprocess.run([*DVC, "init", "--no-scm", "--quiet"], cwd=folder, check=True)
    return project


def repro(folder: Path, *stages: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*DVC, "repro", *stages],
        cwd=folder,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=os.setpgrp,  # a process group that tests can kill, in our session; the stages' processes join it
    )


def outputs(folder: Path) -> dict[str, dict[str, str]]:
    """Return the MD5 of each stage's outputs from dvc.lock."""
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    return {name: {out["path"]: out["md5"] for out in stage["outs"]} for name, stage in stages.items()}
