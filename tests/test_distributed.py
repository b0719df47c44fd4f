"""Two processes train on the same batches as one, with the same gradients; if one ends, the other ends without losses."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from little_crops import project_of_crops
from torch import multiprocessing

from explain_deepfakes.model_test_train.networks.network import build_network, read_description
from explain_deepfakes.model_test_train.training.data import EpochBatches
from explain_deepfakes.model_test_train.training.distributed import ProcessGroup, join_process_group, synchronise_batch_norms
from explain_deepfakes.model_test_train.training.trainer import Recipe, Trainer, begin_run
from explain_deepfakes.pipeline.params import build_settings
from explain_deepfakes.pipeline.project import CODE

TRAIN = [sys.executable, str(CODE / "model_test_train/train_model.py")]


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("first", [0, 2])
def test_every_group_is_seen_once_an_epoch_by_one_process(size: int, first: int) -> None:
    members = [list(EpochBatches(47, 8, 3, 5, first, ProcessGroup(rank, size))) for rank in range(size)]
    single = list(EpochBatches(47, 8, 3, 5, first, ProcessGroup()))
    for together, shares in zip(single, zip(*members, strict=True), strict=True):
        assert sorted(together) == sorted(key for share in shares for key in share)
    if not first:
        assert sorted(index for batch in single for _, index in batch) == list(range(47))
    assert {len(batch) for batch in single} <= {7, 8}


def test_what_is_shared_out_comes_back_in_order() -> None:
    shares = [ProcessGroup(rank, 3).share(range(8)) for rank in range(3)]
    assert [list(share) for share in shares] == [[0, 3, 6], [1, 4, 7], [2, 5]]


def learn(rank: int, size: int, port: int, folder: Path) -> None:
    """Save the gradients and the statistics of the norms after one batch, which the processes share in unequal parts."""
    torch.set_num_threads(1)
    if size > 1:
        variables = {"NTASKS": size, "PROCID": rank, "LOCALID": rank, "LAUNCH_NODE_IPADDR": "localhost", "JOB_ID": port}
        # As srun sets them.
        os.environ.update({f"SLURM_{name}": str(value) for name, value in variables.items()}, MASTER_PORT=str(port))
    with join_process_group("cpu") as (process_group, _):
        torch.manual_seed(0)
        description = read_description(CODE / "model_test_train/configs/patch_transformer.yaml")
        description["detector"]["dropout"] = 0.0
        description["input"]["size"] = 64
        network = synchronise_batch_norms(build_network(description), process_group)
        recipe = build_settings(Recipe, {**description["training"], "clip_gradient": 0.0}, "training")
        generator = torch.Generator().manual_seed(1)
        pictures = torch.randint(0, 256, (9, 64, 64, 3), generator=generator, dtype=torch.uint8)
        masks = torch.rand(9, 8, 8, generator=generator)
        masks[2], masks[5] = torch.nan, 0.0
        batch = pictures, (torch.arange(9) % 2).float(), masks
        mine = slice(None) if size == 1 else (slice(0, 5), slice(5, 9))[rank]
        network.train()
        run = begin_run(network, recipe, 10, 1)  # type: ignore[arg-type]
        trainer = Trainer(run, recipe, 0, process_group)
        loss = trainer._backward(run.network.input.normalise(batch[0][mine]), batch[1][mine], batch[2][mine])
        tensors = {f"of {name}": weight.grad for name, weight in network.named_parameters()}
        tensors |= {f"norm {name}": buffer for name, buffer in network.named_buffers() if buffer.is_floating_point()}
        torch.save({**tensors, "loss": torch.tensor(loss)}, folder / f"{size}-{rank}.pt")


def test_two_processes_and_one_with_the_whole_batch_have_the_same_gradients(tmp_path: Path) -> None:
    learn(0, 1, 0, tmp_path)
    multiprocessing.spawn(learn, (2, free_port(), tmp_path), nprocs=2)
    single, *members = (torch.load(tmp_path / name, weights_only=True) for name in ("1-0.pt", "2-0.pt", "2-1.pt"))
    assert len(single) > 50
    for name, expected in single.items():
        for member in members:
            assert (member[name] - expected).abs().max() < (1e-5 if name.startswith("norm ") else 1e-6), name
    assert max(value.abs().max() for name, value in single.items() if name.startswith("of ")) > 0.1


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("localhost", 0))
        return sock.getsockname()[1]


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Read the metrics of each epoch."""
    tables = sorted((folder / "data/models/plots/metrics").glob("*.tsv"))
    columns = {table.stem: [float(line.split("\t")[1]) for line in table.read_text().splitlines()[1:]] for table in tables}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    training = {"warmup_epochs": 0.0, "lr": 0.0005}
    return project_of_crops(tmp_path / "project", 3, 6, training, {"num_epochs": 2, "save_seconds": 0})


def test_the_command_starts_two_processes_of_which_one_writes_and_validation_is_that_of_one(project: Path) -> None:
    outputs, metrics = [], []
    for devices in ("1", "2"):
        result = subprocess.run([*TRAIN, "--devices", devices], cwd=project, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        outputs.append(result.stdout)
        metrics.append(read_metrics(project))
    for output in outputs:
        assert len(re.findall(r"^epoch \d  train_loss", output, re.MULTILINE)) == 2
        assert output.count("validation AUC") == 1
    for single, together in zip(*metrics, strict=True):
        assert together == pytest.approx(single, abs=0.02)  # after optimiser steps, which amplify small differences


def test_if_one_of_two_is_killed_the_other_ends_with_a_message_and_the_run_can_be_resumed(project: Path) -> None:
    command = [*TRAIN, "--devices", "2", "--num_epochs", "4", "--patience", "4"]
    running = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list((project / "data/runs").glob("*/state.pt")):
        time.sleep(0.05)
    members = members_of(running.pid)
    assert len(members) == 2
    members[1].send_signal(signal.SIGKILL)
    _, output = running.communicate(timeout=60)
    print(output)
    assert running.returncode == 2
    assert "of 2 was killed by SIGKILL, and the others were stopped" in output
    assert not any(member.is_running() for member in members)
    again = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "resumed after epoch" in again.stdout
    assert len(read_metrics(project)) == 4


def members_of(pid: int) -> list[psutil.Process]:
    children = psutil.Process(pid).children(recursive=True)
    return [process for process in children if process.cmdline()[1:2] == [TRAIN[1]]]
