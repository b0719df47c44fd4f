"""A network and pictures -> fake probabilities. Train (for validation), test and serve all judge through here."""

from collections.abc import Iterable

import numpy as np
import torch

from model_test_train.inputs import InputContract


@torch.inference_mode()
def fake_probabilities(network: torch.nn.Module, contract: InputContract, batches: Iterable[torch.Tensor]) -> np.ndarray:
    """Batches of pictures (b, size, size, 3) uint8 -> a probability each, in order."""
    network.eval()
    device = next(network.parameters()).device
    logits = [network(contract.normalise(pictures.to(device))).float().cpu() for pictures in batches]
    return torch.cat(logits).sigmoid().numpy().astype(np.float64) if logits else np.zeros(0)
