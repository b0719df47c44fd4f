"""Detection and extraction, killed at any moment and run again, or done in shards, end with the bytes of an undisturbed run.

KILLS=50 kills that often; SEED=... repeats what a failure printed.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from little_videos import face_video, fake, files_of, original, project, run_script
from warm_commands import warm_python

from explain_deepfakes.pipeline.project import CODE

KILLS = int(os.environ.get("KILLS", 4))
SEED = int(os.environ.get("SEED", random.randrange(10**6)))
STAGES = {"detect_faces": ("boxes",), "extract_crops": ("crops", "masks")}
FLAGS = {"detect_faces": ("--workers", "1", "--frames", "3"), "extract_crops": ("--workers", "2")}
VIDEOS = 6


def outputs(folder: Path) -> dict[str, bytes]:
    return {
        f"{place}/{name}": content
        for place in ("boxes", "crops", "masks")
        for name, content in files_of(folder / place).items()
    }


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Starts a stage, in a process group of its own."""
    with warm_python() as python:

        def begin(folder: Path, stage: str, *flags: str) -> subprocess.Popen[str]:
            command = [*python.split(), str(CODE / "preprocessing" / f"{stage}.py"), *FLAGS[stage], *flags]
            streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            return subprocess.Popen(command, cwd=folder, preexec_fn=os.setpgrp, **streams)

        yield begin


def wait_for_lines(running: subprocess.Popen[str], ledger: Path, count: int) -> None:
    """Of the ledger, which has one when a video is begun and one when it is done."""
    while running.poll() is None and len(ledger.read_text().split("\n\n") if ledger.exists() else ()) < count:
        time.sleep(0.002)


@pytest.fixture(scope="module")
def undisturbed(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that both stages went through."""
    folder = project(tmp_path_factory.mktemp("undisturbed"))
    videos = folder / "data/videos"
    for number in range(4):
        face_video(original(videos, f"{number:03d}"), seed=number)
    for number, name in enumerate(("000_001", "002_003")):
        face_video(fake(videos, "Deepfakes", name), seed=100 + number)
        face_video(videos / f"manipulated_sequences/Deepfakes/masks/videos/{name}.mp4", seed=200 + number)
    done = run_script(folder, "index_videos")
    assert done.returncode == 0, done.stderr
    for stage in STAGES:
        running = start(folder, stage)
        said, _ = running.communicate(timeout=120)
        assert running.returncode == 0, said
        assert len((folder / "data" / STAGES[stage][0] / "ledger.jsonl").read_text().splitlines()) == VIDEOS
    assert any(name.startswith("masks/") for name in outputs(folder / "data"))
    return folder


@pytest.mark.parametrize("number", range(KILLS))
def test_killed_anywhere_and_run_again(start: Start, undisturbed: Path, tmp_path: Path, number: int) -> None:
    print(f"repeat it with SEED={SEED} KILLS={KILLS}")
    rng = random.Random(f"{SEED} {number}")
    stage = tuple(STAGES)[number % len(STAGES)]
    copy = shutil.copytree(undisturbed, tmp_path / "project")
    for place in STAGES[stage]:
        shutil.rmtree(copy / "data" / place)
    running = start(copy, stage)
    wait_for_lines(running, copy / "data" / STAGES[stage][0] / "ledger.jsonl", rng.randint(1, 2 * VIDEOS))
    time.sleep(rng.choice((0.0, 0.02, 0.2)) * rng.random())
    with suppress(ProcessLookupError):  # it has ended already
        os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    left = outputs(copy / "data")
    print(f"{stage} was killed; it left {len(left)} files, {sum('.part' in name for name in left)} of them unfinished")
    again = start(copy, stage)
    said, _ = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert outputs(copy / "data") == outputs(undisturbed / "data")
    shutil.rmtree(copy)


def test_shards_side_by_side_merge_to_the_same_bytes(start: Start, undisturbed: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(undisturbed, tmp_path / "project")
    for stage, places in STAGES.items():
        for place in places:
            shutil.rmtree(copy / "data" / place)
        for shard in [start(copy, stage, "--shard", f"{number}/2") for number in (1, 2)]:
            said, _ = shard.communicate(timeout=120)
            assert shard.returncode == 0, said
        assert len(list((copy / "data" / places[0]).glob("ledger.*"))) == 2
    for stage in STAGES:
        merge = start(copy, stage)
        said, _ = merge.communicate(timeout=120)
        assert merge.returncode == 0, said
        assert "videos," not in said  # nothing was left to do
    assert outputs(copy / "data") == outputs(undisturbed / "data")


def test_a_wrong_shard_ends_in_one_line(start: Start, undisturbed: Path) -> None:
    said, _ = start(undisturbed, "detect_faces", "--shard", "3/2").communicate(timeout=120)
    assert said == "error: shard is '3/2'; it must be i/N with i from 1 to N, for example 2/4\n"
