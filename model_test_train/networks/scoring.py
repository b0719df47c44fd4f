"""A network and pictures -> fake probabilities. Train (for validation), test and serve all judge through here."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch

from model_test_train.networks.network import Network

Result = TypeVar("Result")


def fake_probabilities(network: Network, batches: Iterable[torch.Tensor]) -> np.ndarray:
    """Batches of pictures (b, size, size, 3) uint8 -> a probability each, in order."""
    return np.concatenate([np.zeros(0), *(judged(network, pictures)[:, 0] for pictures in batches)])


@torch.inference_mode()
def judged(network: Network, pictures: torch.Tensor) -> np.ndarray:
    """A batch -> for each picture its probability, and what else the network tells of it (b, 1 + told)."""
    network.eval()
    device = next(network.parameters()).device
    logits, told = network.tell(network.input.normalise(pictures.to(device)))
    return torch.cat((logits.float().sigmoid()[:, None], told.float()), 1).cpu().numpy().astype(np.float64)


def side_by_side(work: Callable[[range], Result], count: int, batch_size: int, workers: int) -> Iterator[Result]:
    """`work` of each stretch of `batch_size` places below `count`, in order; so many threads work at once.

    On a processor a batch a core is quicker than a batch over all cores: nobody waits for the slowest at every layer.
    """
    stretches = [range(first, min(first + batch_size, count)) for first in range(0, count, batch_size)]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        yield from pool.map(work, stretches)
