"""Score pictures with a network. Training (for validation), testing and serving share this code."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch

from explain_deepfakes.model_test_train.networks.network import Network

Result = TypeVar("Result")


def fake_probabilities(network: Network, batches: Iterable[torch.Tensor]) -> np.ndarray:
    """Batches of pictures (b, size, size, 3) uint8 -> the fake probability of each picture, in order."""
    return np.concatenate([np.zeros(0), *(score_batch(network, pictures)[:, 0] for pictures in batches)])


@torch.inference_mode()
def score_batch(network: Network, pictures: torch.Tensor) -> np.ndarray:
    """For each picture its fake probability, followed by the head's auxiliary outputs (b, 1 + aux_outputs)."""
    network.eval()
    device = next(network.parameters()).device
    logits, aux_outputs = network.forward_with_aux(network.input.normalise(pictures.to(device)))
    return torch.cat((logits.float().sigmoid()[:, None], aux_outputs.float()), 1).cpu().numpy().astype(np.float64)


def map_ranges(work: Callable[[range], Result], count: int, batch_size: int, workers: int) -> Iterator[Result]:
    """Call `work` for consecutive ranges of `batch_size` indices below `count`, on several threads; yield results in order.

    On a CPU, one batch per core is faster than one batch across all cores, because no layer has to wait for the slowest core.
    """
    ranges = [range(first, min(first + batch_size, count)) for first in range(0, count, batch_size)]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        yield from pool.map(work, ranges)
