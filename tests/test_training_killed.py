"""train_model.py, killed at any step and started again each time, ends with the very bits of an undisturbed run.

KILLS=10 kills that often.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from little_crops import project_of_crops

from pipeline.project import CODE

KILLS = int(os.environ.get("KILLS", 2))
EPOCHS = KILLS + 2  # so that it does not end before the last of them
TRAIN = [sys.executable, str(CODE / "model_test_train/train_model.py")]


def project(folder: Path) -> Path:
    settings = {"num_epochs": EPOCHS, "patience": EPOCHS, "save_seconds": 0, "workers": 1}
    return project_of_crops(folder, 4, 9, {"warmup_epochs": 0.5}, settings)


def trained(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (folder / "data/models").rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = project(tmp_path_factory.mktemp("undisturbed") / "project")
    subprocess.run(TRAIN, cwd=folder, check=True, capture_output=True)
    return folder


def test_killed_at_random_steps_it_ends_with_the_same_bits(undisturbed: Path, tmp_path: Path) -> None:
    folder, moments = project(tmp_path / "project"), random.Random(0)
    went_on = []
    for kill in range(1, KILLS + 1):
        running = subprocess.Popen(TRAIN, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        wait_for_a_state(folder, running)
        time.sleep(moments.uniform(0, 0.3))
        running.kill()
        words, _ = running.communicate()
        assert running.returncode == -signal.SIGKILL, f"it had ended before kill {kill}: {words}"
        went_on += [line for line in words.splitlines() if line.startswith("goes on after")]
    done = subprocess.run(TRAIN, cwd=folder, check=True, capture_output=True, text=True)
    assert "goes on after" in done.stdout
    assert any("step 0" not in line for line in went_on), went_on  # not only from the ends of epochs
    assert trained(folder) == trained(undisturbed)


def wait_for_a_state(folder: Path, running: subprocess.Popen[str]) -> None:
    """Until one is written that was not there when it was started."""
    before = states(folder)
    while states(folder) == before and running.poll() is None:
        time.sleep(0.01)


def states(folder: Path) -> list[int]:
    return [file.stat().st_mtime_ns for file in (folder / "data/runs").glob("*/state.pt")]
