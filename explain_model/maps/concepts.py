"""Concepts: the named components that some networks weigh individually, with the weight of each and a map of where it lies.

CLIP heads weigh sentences: the weight is the similarity of picture and sentence, the map its relevancy. F3-Net weighs frequency
bands: the weight is the band's share of the evidence, |band * gradient of the logit|, which is also its map.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from explain_deepfakes.explain_model.maps.relevancy import frozen_weights, record_outputs, token_relevancy
from explain_deepfakes.model_test_train.networks.clip import ClipTower
from explain_deepfakes.model_test_train.networks.f3net import F3Net
from explain_deepfakes.model_test_train.networks.network import Network


@dataclass(frozen=True)
class Concepts:
    """The concepts of one picture."""

    names: tuple[str, ...]
    weights: Tensor  # (k,)
    maps: list[Tensor]  # k maps (h, w)


class ConceptSimilarity(nn.Module):
    """The similarity of a picture and one of the network's sentences, as the only output."""

    def __init__(self, network: Network, number: int) -> None:
        super().__init__()
        self.network, self.number = network, number

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network.forward_with_aux(pixels)[1][:, self.number]


def sentence_concepts(network: Network, pixels: Tensor) -> Concepts:
    """The sentences of a CLIP head, for one picture (1, 3, size, size)."""
    backbone = cast(ClipTower, network.backbone)
    with torch.no_grad():
        similarities = network.forward_with_aux(pixels)[1][0]
    outputs = (ConceptSimilarity(network, number) for number in range(len(network.aux_output_names)))
    rows = [token_relevancy(output, pixels, tokens=backbone.tokens).for_fake[0] for output in outputs]  # (n,) each
    return Concepts(network.aux_output_names, similarities, [row.unflatten(-1, backbone.token_grid) for row in rows])


def band_concepts(network: Network, pixels: Tensor) -> Concepts:
    """The frequency bands of F3-Net, for one picture (1, 3, size, size)."""
    backbone = cast(F3Net, network.backbone)
    with (
        torch.enable_grad(),
        frozen_weights(network),
        record_outputs(backbone.decomposed) as decomposed,
        record_outputs(backbone.statistics) as statistics,
    ):
        logit = network(pixels).sum()
    inputs = [decomposed[0], statistics[0]]  # (1, bands * channels, h, w) each
    gradients = torch.autograd.grad(logit, inputs)
    evidence = [(values.detach() * gradient)[0].abs() for values, gradient in zip(inputs, gradients, strict=True)]
    names_by_stream = (backbone.decomposed.names, backbone.statistics.names)
    maps = [band.sum(0) for values, names in zip(evidence, names_by_stream, strict=True) for band in values.chunk(len(names))]
    weights = torch.stack([band_map.sum() for band_map in maps])
    all_names = tuple(name for names in names_by_stream for name in names)
    return Concepts(all_names, weights / weights.sum().clamp(min=1e-12), maps)


def concepts_of(network: Network) -> Callable[[Network, Tensor], Concepts] | None:
    """The function that finds the concepts of this kind of network; None if it has no concepts."""
    if isinstance(network.backbone, F3Net):
        return band_concepts
    return sentence_concepts if isinstance(network.backbone, ClipTower) and network.aux_output_names else None
