"""Costs of a network: weights, FLOPs, throughput and peak memory, measured in a separate process.

python benchmarks/all_networks/network_costs.py CHECKPOINT
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from explain_deepfakes.model_test_train.networks.checkpoint import load_checkpoint
from explain_deepfakes.model_test_train.networks.scoring import score_batch
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.memory import keep_memory, peak_memory
from explain_deepfakes.pipeline.project import CODE
from explain_deepfakes.pipeline.reproducible import choose_device

BATCH_SIZE, REPEATS = 16, 5


class NetworkCosts(TypedDict):
    weights: int
    flops: int  # per picture
    pictures_a_second: float
    peak_mb: int
    device: str


def measure_costs(checkpoint: Path) -> NetworkCosts:
    """Measure in a new process, so that the peak memory is the network's own."""
    command = [sys.executable, str(CODE / "benchmarks/all_networks/network_costs.py"), str(checkpoint)]
    process = subprocess.run(command, check=False, capture_output=True, text=True)
    if process.returncode:
        raise UserError(f"the costs of {checkpoint} cannot be measured: {process.stderr.strip().splitlines()[-1]}")
    costs: NetworkCosts = json.loads(process.stdout)
    return costs


def measure_costs_here(checkpoint: Path) -> NetworkCosts:
    """Score batches in this process; the time is the median of several runs."""
    keep_memory()
    device = choose_device("auto")
    network, _ = load_checkpoint(checkpoint, device)
    rng = np.random.default_rng(0)
    pictures = torch.from_numpy(rng.integers(0, 255, (BATCH_SIZE, network.input.size, network.input.size, 3), np.uint8))
    with FlopCounterMode(display=False) as flop_counter:
        score_batch(network, pictures[:1])
    score_batch(network, pictures)  # warm up
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        score_batch(network, pictures)
        seconds.append(time.perf_counter() - start)
    return {
        "weights": sum(weight.numel() for weight in network.parameters()),
        "flops": flop_counter.get_total_flops(),
        "pictures_a_second": round(BATCH_SIZE / statistics.median(seconds), 1),
        "peak_mb": peak_mb(device),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads",
    }


def peak_mb(device: torch.device) -> int:
    """Peak memory of the GPU if the network runs on one, otherwise of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) >> 20
    return peak_memory() >> 20


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoint", type=Path, help="checkpoint of the network")
    print(json.dumps(measure_costs_here(parser.parse_args().checkpoint)))
