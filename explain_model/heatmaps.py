"""Heatmaps: face crops -> arrays in [0, 1] over the crops' own pixels.

The scale is absolute. A place with just its fair share of relevancy has 0.25, three times its share 0.5, nine times 0.75:
a map of an undecided network stays pale instead of being stretched until its noise looks like a finding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from explain_model.maps import DEFAULT, method_for
from explain_model.parts import parts_of
from model_test_train.inputs import Image, InputContract
from model_test_train.networks.network import Network
from preprocessing.crop_stores import UnreadableCrop, read_crop
from preprocessing.crops import Crop

Row = dict[str, Any]

FAIR_SHARE = 0.25  # heat of a place that is as relevant as the average place


@dataclass(frozen=True)
class Heat:
    """A face's two maps, float32 (height, width) of its crop: what spoke for the verdict, and what against it."""

    spoke_for: np.ndarray
    spoke_against: np.ndarray  # on the scale of the other, so that what hardly counted stays pale
    as_made: np.ndarray  # what spoke for it, at the places and on the scale that the method has


def heatmaps(network: Network, crops: Sequence[Image], called_fake: Sequence[bool], method: str = DEFAULT) -> list[Heat]:
    """The maps of each crop for its verdict, and against it."""
    pixels = network.input.prepare(list(crops)).to(next(network.parameters()).device)
    heats = []
    for crop, is_fake, *both in zip(crops, called_fake, *method_for(network, method).of(network, pixels), strict=True):
        made, against = (one.cpu()[None] for one in (both if is_fake else reversed(both)))
        over = [over_crop(network.input, heat[0], crop) for heat in (heat_of(made), heat_of(against, total=made.sum()))]
        heats.append(Heat(over[0], over[1], made[0].numpy()))
    return heats


def heats_of_parts(network: Network, crop: Image) -> list[tuple[str, float, np.ndarray]]:
    """Of each part that the network weighs by itself: its name, its weight, and its heat over the crop."""
    if (find := parts_of(network)) is None:
        return []
    names, weights, maps = find(network, network.input.prepare([crop]).to(next(network.parameters()).device))
    heats = (over_crop(network.input, heat_of(one.cpu()[None])[0], crop) for one in maps)
    return list(zip(names, weights.tolist(), heats, strict=True))


Asked = tuple[Crop, bool]  # what spoke for fake in it, or for real?
Face = tuple[Image, Heat]


def explained(
    network: Network, asked: Sequence[Asked | None], method: str, batch_size: int, failures: list[Row]
) -> Iterator[Face | None]:
    """Each crop with its heat, None where there is none to read; a batch at a time, so that memory does not grow with them."""
    for first in range(0, len(asked), batch_size):
        batch = asked[first : first + batch_size]
        pictures = [one and _picture(one[0], failures) for one in batch]
        known = [(picture, one[1]) for picture, one in zip(pictures, batch, strict=True) if one and picture is not None]
        faces, as_fake = [picture for picture, _ in known], [is_fake for _, is_fake in known]
        heats = iter(heatmaps(network, faces, as_fake, method) if known else ())
        yield from (None if picture is None else (picture, next(heats)) for picture in pictures)


def _picture(crop: Crop, failures: list[Row]) -> np.ndarray | None:
    try:
        return read_crop(crop.path)
    except UnreadableCrop as error:
        failures.append({"video": crop.video, "crop": crop.name, "reason": str(error)})
        return None


def heats_for_fake(network: Network, crops: Sequence[Image], method: str) -> Tensor:
    """What spoke for fake, as heat (b, h, w) at the places that the method has."""
    pixels = network.input.prepare(list(crops)).to(next(network.parameters()).device)
    for_fake, _ = method_for(network, method).of(network, pixels)
    return heat_of(for_fake).cpu()


def over_crop(contract: InputContract, heat: Tensor, crop: Image) -> np.ndarray:
    """A map of any resolution over what the network saw -> over the crop's own pixels."""
    large = nn.functional.interpolate(heat[None, None], size=(contract.size, contract.size), mode="bilinear")[0, 0]
    return contract.unfit(large.cpu().numpy(), *crop.shape[:2])


def heat_of(relevancy: Tensor, total: Tensor | None = None) -> Tensor:
    """Relevancy (b, h, w) -> heat in [0, 1) by how many times its fair share of the total (or that given) a place has."""
    places = relevancy[0].numel()
    total = relevancy.sum((1, 2), keepdim=True) if total is None else total.view(-1, 1, 1)
    times_fair = torch.where(total > 0, relevancy * places / total.clamp(min=1e-30), torch.ones_like(relevancy))
    return times_fair / (times_fair + (1 - FAIR_SHARE) / FAIR_SHARE)


def peak(heat: np.ndarray) -> tuple[int, int]:
    """(x, y) of the hottest pixel; of several, the middle one."""
    rows, columns = np.nonzero(heat == heat.max())
    middle = len(rows) // 2
    return int(columns[middle]), int(rows[middle])


def shares_of(heat: np.ndarray) -> np.ndarray:
    """The share of all relevancy that each pixel has."""
    times_fair = heat / np.maximum(1 - heat, 1e-9)
    return times_fair / times_fair.sum()


def confidence(heat: np.ndarray) -> float:
    """How far the map is from saying nothing: 0 where all places are alike, towards 1 where one place has it all."""
    shares = shares_of(heat).ravel()
    entropy = -(shares * np.log(np.maximum(shares, 1e-30))).sum()
    return float(1 - entropy / np.log(shares.size))
