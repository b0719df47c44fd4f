"""train_model.py, killed at any step and restarted each time, ends with exactly the bits of an uninterrupted run.

KILLS=10 sets the number of kills.
"""

import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from little_crops import project_of_crops

from explain_deepfakes.model_test_train.training.data import SigtermDataLoader
from explain_deepfakes.model_test_train.training.distributed import EXIT_STOPPED
from explain_deepfakes.pipeline.project import CODE

KILLS = int(os.environ.get("KILLS", 2))
EPOCHS = KILLS + 2  # so that it does not end before the last kill
TRAIN = [sys.executable, str(CODE / "model_test_train/train_model.py")]

KILLED_AS_IT_BEGINS_TO_READ = """
import os, signal, time
from explain_deepfakes.model_test_train.training.data import SigtermDataLoader

def become_orphan():
    os.kill(parent, signal.SIGKILL)
    while os.getppid() == parent:
        time.sleep(0.01)

parent = os.getpid()
os.register_at_fork(after_in_child=become_orphan)
iter(SigtermDataLoader(list(range(9)), num_workers=1))
"""


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
    resumed = []
    for kill in range(1, KILLS + 1):
        running = subprocess.Popen(TRAIN, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        wait_for_a_state(folder, running)
        time.sleep(moments.uniform(0, 0.3))
        running.kill()
        output, _ = running.communicate()
        assert running.returncode == -signal.SIGKILL, f"it had ended before kill {kill}: {output}"
        resumed += [line for line in output.splitlines() if line.startswith("resumed after")]
    result = subprocess.run(TRAIN, cwd=folder, check=True, capture_output=True, text=True)
    assert "resumed after" in result.stdout
    assert any("step 0" not in line for line in resumed), resumed  # not only from the ends of epochs
    assert trained(folder) == trained(undisturbed)


def test_on_sigterm_it_saves_after_the_step_and_resumes_with_the_same_bits(undisturbed: Path, tmp_path: Path) -> None:
    """As on a cluster, every process gets the signal, including those that read crops."""
    folder = project(tmp_path / "project")
    running = begun(folder)
    os.killpg(running.pid, signal.SIGTERM)
    step = saved_step(running)
    result = subprocess.run(TRAIN, cwd=folder, check=True, capture_output=True, text=True)
    assert f"resumed after epoch 1, step {step}" in result.stdout
    assert trained(folder) == trained(undisturbed)


def test_if_one_of_two_gets_sigterm_both_end_after_the_same_step(tmp_path: Path) -> None:
    running = begun(project(tmp_path / "project"), "--devices", "2")
    members = [process for process in psutil.Process(running.pid).children() if process.cmdline()[1:2] == [TRAIN[1]]]
    members[-1].terminate()
    assert saved_step(running) > 0


def test_a_process_that_reads_ends_when_its_parent_says_so_and_at_no_one_elses_word() -> None:
    signals_children = [True]
    os.register_at_fork(after_in_child=lambda: signals_children and os.kill(os.getpid(), signal.SIGTERM))  # at its first moment
    items = iter(SigtermDataLoader(list(range(9)), batch_size=1, num_workers=1))
    signals_children.clear()
    (reader,) = multiprocessing.active_children()
    assert next(items) == 0
    subprocess.run(["kill", str(reader.pid)], check=True)
    reader.join(1)
    assert reader.is_alive()
    reader.terminate()
    reader.join(30)
    assert reader.exitcode == 0


def test_a_process_that_reads_ends_with_a_parent_that_was_killed_as_it_began() -> None:
    """Otherwise it would keep its terminal or pipe open for ever."""
    result = subprocess.run([sys.executable, "-c", KILLED_AS_IT_BEGINS_TO_READ], capture_output=True, timeout=60, check=False)
    assert result.returncode == -signal.SIGKILL


def begun(folder: Path, *flags: str) -> subprocess.Popen[str]:
    """Start training, and return in its second epoch, of which no state has been saved."""
    command = [*TRAIN, "--save_seconds", "1000", *flags]
    running = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, start_new_session=True)
    for line in running.stdout or ():
        if line.startswith("epoch 1"):
            return running
    raise AssertionError("it ended before")


def saved_step(running: subprocess.Popen[str]) -> int:
    output, _ = running.communicate(timeout=60)
    assert running.returncode == EXIT_STOPPED
    (step,) = re.findall("received SIGTERM: saved after epoch 1, step ([0-9]+)", output)
    return int(step)


def wait_for_a_state(folder: Path, running: subprocess.Popen[str]) -> None:
    """Wait until a new state is written."""
    before = states(folder)
    while states(folder) == before and running.poll() is None:
        time.sleep(0.01)


def states(folder: Path) -> list[int]:
    return [file.stat().st_mtime_ns for file in (folder / "data/runs").glob("*/state.pt")]
