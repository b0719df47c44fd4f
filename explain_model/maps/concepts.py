"""What a network weighs apart, part by part: CLIP's sentences, F3-Net's bands of frequencies. How much each weighs, and where.

Of a sentence, how like the picture is to it, and the relevancy for that. Of a band, its share of the evidence (what was seen in
it times the logit's slope by that, absolute), and where that lies.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from explain_model.maps.relevancy import frozen, outputs_of, token_relevancy
from model_test_train.networks.clip import ClipTower
from model_test_train.networks.f3net import F3Net
from model_test_train.networks.network import Network

Parts = tuple[tuple[str, ...], Tensor, list[Tensor]]  # names, weights (k,), and of each a map (h, w)


class Likeness(nn.Module):
    """How like one of its sentences a network finds a picture."""

    def __init__(self, network: Network, number: int) -> None:
        super().__init__()
        self.network, self.number = network, number

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network.tell(pixels)[1][:, self.number]


def of_sentences(network: Network, pixels: Tensor) -> Parts:
    backbone: Any = network.backbone
    with torch.no_grad():
        likenesses = network.tell(pixels)[1][0]
    asked = (Likeness(network, number) for number in range(len(network.told)))
    rows = [token_relevancy(one, pixels, tokens=backbone.tokens).for_fake[0] for one in asked]
    return network.told, likenesses, [row.unflatten(-1, backbone.token_grid) for row in rows]


def of_bands(network: Network, pixels: Tensor) -> Parts:
    backbone: Any = network.backbone
    streams = backbone.decomposed, backbone.statistics
    with torch.enable_grad(), frozen(network), outputs_of(streams[0]) as first, outputs_of(streams[1]) as second:
        logit = network(pixels).sum()
    seen = [first[0], second[0]]
    slopes = torch.autograd.grad(logit, seen)
    evidence = [(one.detach() * slope)[0].abs() for one, slope in zip(seen, slopes, strict=True)]
    maps = [part.sum(0) for values, stream in zip(evidence, streams, strict=True) for part in values.chunk(len(stream.names))]
    weights = torch.stack([one.sum() for one in maps])
    names = tuple(name for stream in streams for name in stream.names)
    return names, weights / weights.sum().clamp(min=1e-12), maps


def parts_of(network: Network) -> Callable[[Network, Tensor], Parts] | None:
    """How the parts of that kind of network are found, if it has any."""
    if isinstance(network.backbone, F3Net):
        return of_bands
    return of_sentences if isinstance(network.backbone, ClipTower) and network.told else None
