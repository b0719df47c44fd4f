"""A network and pictures -> fake probabilities. Train (for validation), test and serve all judge through here."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch

from model_test_train.inputs import InputContract

Result = TypeVar("Result")


@torch.inference_mode()
def fake_probabilities(network: torch.nn.Module, contract: InputContract, batches: Iterable[torch.Tensor]) -> np.ndarray:
    """Batches of pictures (b, size, size, 3) uint8 -> a probability each, in order."""
    network.eval()
    device = next(network.parameters()).device
    logits = [network(contract.normalise(pictures.to(device))).float().cpu() for pictures in batches]
    return torch.cat(logits).sigmoid().numpy().astype(np.float64) if logits else np.zeros(0)


def side_by_side(work: Callable[[range], Result], count: int, batch_size: int, workers: int) -> Iterator[Result]:
    """`work` of each stretch of `batch_size` places below `count`, in order; so many threads work at once.

    On a processor a batch a core is quicker than a batch over all cores: nobody waits for the slowest at every layer.
    """
    stretches = [range(first, min(first + batch_size, count)) for first in range(0, count, batch_size)]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        yield from pool.map(work, stretches)
