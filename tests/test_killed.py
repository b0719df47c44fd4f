"""Killed at any moment, in any stage, `dvc repro` takes up where it was and ends with the same bytes."""

import os
import random
import re
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from conftest import Project
from little_dag import dag, outputs, repro
from warm_commands import warm_python


@pytest.fixture(scope="module")
def python() -> Iterator[str]:
    with warm_python() as python:
        yield python


def killed_in(folder: Path, stage: str, after: float) -> None:
    """Runs the DAG until this stage has worked for so many seconds, and kills all of it without a warning."""
    running = repro(folder)
    assert running.stdout
    for line in running.stdout:
        if re.search(rf"Running stage '{stage}'", line):
            time.sleep(after)
            break
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()  # until the last of them has let go of it


@pytest.fixture(scope="module")
def seconds() -> dict[str, float]:
    """How long each stage of the undisturbed run works."""
    return {}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, python: str, seconds: dict[str, float]) -> Project:
    project = dag(tmp_path_factory.mktemp("undisturbed"), python=python)
    running = repro(project.folder)
    assert running.stdout
    told = [(time.monotonic(), line) for line in running.stdout]
    running.communicate()
    assert (project.folder / "dvc.lock").is_file(), told
    begun = [(moment, *re.findall(r"Running stage '(\w+)'", line)) for moment, line in told if "Running stage" in line]
    seconds |= {stage: after - before for (before, stage), (after, *_) in pairwise([*begun, told[-1]])}
    return project


def test_a_run_killed_in_every_stage_ends_with_the_same_hashes(
    undisturbed: Project, seconds: dict[str, float], python: str, tmp_path: Path
) -> None:
    expected = outputs(undisturbed.folder)
    assert len(expected) == len(seconds) == 10
    project = dag(tmp_path / "killed", python=python)
    moments = random.Random(0)
    for stage in expected:
        killed_in(project.folder, stage, after=seconds[stage] * moments.random())
    running = repro(project.folder)
    told, _ = running.communicate()
    assert running.returncode == 0, told
    assert outputs(project.folder) == expected


def test_a_second_run_does_nothing_and_a_changed_setting_runs_only_what_follows_it(undisturbed: Project) -> None:
    told, _ = repro(undisturbed.folder).communicate()
    assert "Running stage" not in told
    params = undisturbed.folder / "params.yaml"
    settings = yaml.safe_load(params.read_text())
    for section, change, expected in [
        ("explain", {"opacity": 0.9}, ["explain", "report"]),
        ("test", {"bootstrap": 30}, ["test", "explain", "explain_videos", "evaluate_explanations", "report"]),
    ]:
        settings[section].update(change)
        params.write_text(yaml.safe_dump(settings))
        told, _ = repro(undisturbed.folder).communicate()
        assert sorted(re.findall(r"Running stage '(\w+)'", told)) == sorted(expected)


def test_one_more_video_costs_one_video(undisturbed: Project) -> None:
    folder = undisturbed.folder
    originals = folder / "data/videos/original_sequences/youtube/c23/videos"
    boxes, crops = folder / "data/boxes", folder / "data/crops"
    before = {path: path.stat().st_mtime_ns for path in (*boxes.rglob("*.json"), *crops.rglob("*.png"))}
    (originals / "mine.mp4").write_bytes((originals / "000.mp4").read_bytes() + b"\0")  # a file that nobody had yet
    told, _ = repro(folder).communicate()
    assert "detect_faces: 1 of 1 videos" in told
    assert "extract_crops: 1 of 1 videos" in told
    after = {path: path.stat().st_mtime_ns for path in (*boxes.rglob("*.json"), *crops.rglob("*.png"))}
    assert {path: time for path, time in after.items() if path in before} == before
    assert {path.stem for path in after if path not in before and path.suffix == ".json"} == {"mine"}
