"""Reproducible results: seeds, the number of threads, and the device."""

import random

import numpy as np
import torch

from explain_deepfakes.pipeline.errors import UserError


def seed_everything(seed: int, threads: int) -> None:
    """Set all seeds and the number of threads. Sums that are split over another number of threads round differently."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    # Filling uninitialized memory, which is never read, would take a tenth of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def choose_device(name: str) -> torch.device:
    """Return the device; `auto` is the GPU if there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device is 'cuda', but torch finds no GPU; use 'auto' or 'cpu'")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
