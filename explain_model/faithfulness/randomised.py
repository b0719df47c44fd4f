"""Parameter randomisation test: a network -> copies with more and more of its weights shuffled, from the logit to the pixels.

A map that depends on what the network learned must degrade with it (Adebayo et al. 2018). Shuffling keeps the distribution of
each weight tensor.
"""

import copy
from collections.abc import Iterator

import torch
from torch import nn

from explain_deepfakes.model_test_train.networks.network import Network


def randomised_networks(network: Network, seed: int) -> Iterator[tuple[str, Network]]:
    """Yield the name of the layer shuffled last and the network. It is one copy, and layers stay shuffled."""
    generator = torch.Generator().manual_seed(seed)
    shuffled = copy.deepcopy(network)
    head = shuffled.head
    layers = [(name, list(layer.parameters())) for name, layer in reversed(list(head.named_children()))]
    embeddings = [("embeddings", list(head.parameters(recurse=False)))]
    for name, weights in (*layers, *embeddings, ("backbone", list(shuffled.backbone.parameters()))):
        if weights:
            shuffle(weights, generator)
            yield name, shuffled


@torch.no_grad()
def shuffle(weights: list[nn.Parameter], generator: torch.Generator) -> None:
    for weight in weights:
        order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
        weight.copy_(weight.flatten()[order].view_as(weight))
