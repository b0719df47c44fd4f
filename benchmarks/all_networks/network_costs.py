"""What a network costs: weights, arithmetic, time and memory, measured in a process of its own.

python benchmarks/all_networks/network_costs.py CHECKPOINT
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from model_test_train.networks.checkpoint import load_checkpoint
from model_test_train.networks.scoring import judged
from pipeline.errors import UserError
from pipeline.memory import keep_memory, peak_memory
from pipeline.project import CODE
from pipeline.reproducible import choose_device

COSTS = ("weights", "flops", "pictures_a_second", "peak_mb", "device")
BATCH, REPEATS = 16, 5


def measured_costs(checkpoint: Path) -> dict[str, Any]:
    command = [sys.executable, str(CODE / "benchmarks/all_networks/network_costs.py"), str(checkpoint)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{checkpoint} cannot be measured: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def costs(path: Path) -> dict[str, Any]:
    """Of judging batches on this machine: the median of a few."""
    keep_memory()
    device = choose_device("auto")
    network, _ = load_checkpoint(path, device)
    rng = np.random.default_rng(0)
    pictures = torch.from_numpy(rng.integers(0, 255, (BATCH, network.input.size, network.input.size, 3), np.uint8))
    with FlopCounterMode(display=False) as counted:
        judged(network, pictures[:1])
    judged(network, pictures)
    seconds = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        judged(network, pictures)
        seconds.append(time.perf_counter() - begun)
    return {
        "weights": sum(weight.numel() for weight in network.parameters()),
        "flops": counted.get_total_flops(),
        "pictures_a_second": round(BATCH / statistics.median(seconds), 1),
        "peak_mb": peak_mb(device),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads",
    }


def peak_mb(device: torch.device) -> int:
    """Of the GPU, if it is on one; else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) >> 20
    return peak_memory() >> 20


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    print(json.dumps(costs(parser.parse_args().checkpoint)))
