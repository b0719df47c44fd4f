"""Heatmaps: face crops -> arrays in [0, 1] over the crops' own pixels.

The scale is absolute. A place with just its fair share of relevancy has 0.25, three times its share 0.5, nine times 0.75:
a map of an undecided network stays pale instead of being stretched until its noise looks like a finding.
"""

import numpy as np
import torch
from torch import Tensor, nn

from explain_model.relevancy import class_token_relevancy, recorded
from model_test_train.inputs import Image
from model_test_train.networks.network import Network

FAIR_SHARE = 0.25  # heat of a place that is as relevant as the average place


def heatmaps(network: Network, crops: list[Image], called_fake: list[bool]) -> list[np.ndarray]:
    """For each crop, what spoke for the verdict: float32 (height, width) of the crop."""
    device = next(network.parameters()).device
    signs = torch.where(torch.tensor(called_fake), 1.0, -1.0).to(device)
    pixels = network.input.prepare(crops).to(device)
    heat = heat_of(place_relevancy(network, pixels, signs))
    heat = nn.functional.interpolate(heat[:, None], size=pixels.shape[2:], mode="bilinear")[:, 0]
    return [network.input.unfit(one, *crop.shape[:2]) for one, crop in zip(heat.cpu().numpy(), crops, strict=True)]


def place_relevancy(network: Network, pixels: Tensor, signs: Tensor) -> Tensor:
    """Pictures -> relevancy (b, h, w) over the places of the feature map."""
    if network.detector.places:
        return class_token_relevancy(network, pixels, signs).unflatten(-1, network.detector.places)
    # A token of the published network is no place but a mixture of channels: its numbers are that mixture's map. Each
    # token's map counts as much as the token's relevancy.
    with recorded([network.detector.get_submodule("patch_to_embedding")]) as embeddings:
        relevancy = class_token_relevancy(network, pixels, signs)
    maps = embeddings[0].detach().abs()  # (b, tokens, h w)
    side = int(maps.shape[-1] ** 0.5)
    return (relevancy[:, :, None] * maps).sum(1).unflatten(-1, (side, side))


def heat_of(relevancy: Tensor) -> Tensor:
    """Relevancy (b, h, w) -> heat in [0, 1) by how many times its fair share a place has."""
    places = relevancy[0].numel()
    total = relevancy.sum((1, 2), keepdim=True)
    times_fair = torch.where(total > 0, relevancy * places / total.clamp(min=1e-30), torch.ones_like(relevancy))
    return times_fair / (times_fair + (1 - FAIR_SHARE) / FAIR_SHARE)


def peak(heat: np.ndarray) -> tuple[int, int]:
    """(x, y) of the hottest pixel; of several, the middle one."""
    rows, columns = np.nonzero(heat == heat.max())
    middle = len(rows) // 2
    return int(columns[middle]), int(rows[middle])


def confidence(heat: np.ndarray) -> float:
    """How far the map is from saying nothing: 0 where all places are alike, towards 1 where one place has it all."""
    times_fair = heat / np.maximum(1 - heat, 1e-9)
    shares = times_fair.ravel() / times_fair.sum()
    entropy = -(shares * np.log(np.maximum(shares, 1e-30))).sum()
    return float(1 - entropy / np.log(shares.size))
