"""Concurrent changes of the registry: none undoes another."""

import json
import multiprocessing
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from explain_deepfakes.model_test_train.networks.checkpoint import Checkpoint
from explain_deepfakes.serving.models.registry import PROMOTE, Registry

COUNT = 6
FORK = multiprocessing.get_context("fork")  # starts so fast that all run at the same time


@pytest.fixture
def checkpoints(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.safetensors" for number in range(COUNT)]
    for number, path in enumerate(paths):
        card = Checkpoint(f"network {number}", {}, {}, 0.5, None, ["DEMO"], {})
        save_file({"weights": np.full(100_000, number, np.float32)}, path, {"checkpoint": json.dumps(asdict(card))})
    return paths


def work_at_once(work: Callable[[Registry, int], object], folder: Path) -> None:
    def begin(number: int, barrier: Barrier) -> None:
        barrier.wait()
        work(Registry(folder), number)

    barrier = FORK.Barrier(COUNT)
    processes = [FORK.Process(target=begin, args=(number, barrier)) for number in range(COUNT)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * COUNT


def test_versions_added_at_once_get_numbers_of_their_own(tmp_path: Path, checkpoints: list[Path]) -> None:
    work_at_once(lambda registry, number: registry.add(checkpoints[number], None), tmp_path / "registry")
    registry = Registry(tmp_path / "registry")
    assert [version.number for version in registry.versions()] == list(range(1, COUNT + 1))
    assert {version.name for version in registry.versions()} == {f"network {number}" for number in range(COUNT)}
    assert sorted(line["version"] for line in registry.history()) == list(range(1, COUNT + 1))


def test_nothing_done_at_once_is_lost_from_the_history(tmp_path: Path, checkpoints: list[Path]) -> None:
    registry = Registry(tmp_path / "registry")
    for checkpoint in checkpoints:
        registry.add(checkpoint, None)
    work_at_once(lambda registry, number: registry.promote(number + 1, force=True), registry.folder)
    promoted = [line for line in registry.history() if line["did"] == PROMOTE]
    assert sorted(line["version"] for line in promoted) == list(range(1, COUNT + 1))
    assert [line["before"] for line in promoted] == [None, *(line["version"] for line in promoted[:-1])]
