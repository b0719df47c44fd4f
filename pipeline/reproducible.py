"""Same in, same out: seeds, the number of threads that sums are split over, and the device that work runs on."""

import random

import numpy as np
import torch

from pipeline.errors import UserError


def seed_everything(seed: int, threads: int) -> None:
    """Threads are a setting, not the machine's: sums split over another number of threads round differently."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    # Filling fresh memory that nobody reads would take a tenth of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def choose_device(name: str) -> torch.device:
    """`auto` takes the GPU where there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device is 'cuda', but torch finds no GPU here; use 'auto' or 'cpu'")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
