"""Randomised: a network -> the same with ever more of its weights shuffled, from the verdict down to the pixels.

A map that tells what the network learnt must fall apart with it (Adebayo et al. 2018). Shuffled weights keep their sizes.
"""

import copy
from collections.abc import Iterator

import torch
from torch import nn

from model_test_train.networks.network import Network


def randomised(network: Network, seed: int) -> Iterator[tuple[str, Network]]:
    """What was shuffled last, and the network; what was shuffled before stays so."""
    generator = torch.Generator().manual_seed(seed)
    changed = copy.deepcopy(network)
    detector = changed.head
    layers = [(name, list(part.parameters())) for name, part in reversed(list(detector.named_children()))]
    embeddings = [("embeddings", list(detector.parameters(recurse=False)))]
    for name, weights in (*layers, *embeddings, ("backbone", list(changed.backbone.parameters()))):
        if weights:
            shuffle(weights, generator)
            yield name, changed


@torch.no_grad()
def shuffle(weights: list[nn.Parameter], generator: torch.Generator) -> None:
    for one in weights:
        order = torch.randperm(one.numel(), generator=generator).to(one.device)
        one.copy_(one.flatten()[order].view_as(one))
