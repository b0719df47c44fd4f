"""Heatmaps: face crops -> arrays in [0, 1] over the crops' own pixels.

The scale is absolute. A place with just its fair share of evidence has 0.25, three times its share 0.5, nine times 0.75: a map
of an undecided network stays pale instead of being stretched until its noise looks like a finding.

Where a network looks, some of its heads speak for fake and some for real, so the evidence for the two lies at nearly the same
places. As evidence for real counts only what outweighs the evidence for fake at the same place.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from explain_model.maps.concepts import parts_of
from explain_model.maps.methods import DEFAULT, MapMethod, Maps, method_for
from model_test_train.networks.input_contract import Image, InputContract
from model_test_train.networks.network import Network
from preprocessing.crops.crops import Crop
from preprocessing.crops.stores import UnreadablePicture, read_picture

Row = dict[str, Any]

FAIR_SHARE = 0.25  # heat of a place that is as relevant as the average place


@dataclass(frozen=True)
class Heat:
    """A face's maps for a label, float32 (height, width) of its crop."""

    spoke_for: np.ndarray  # evidence for the label
    spoke_against: np.ndarray | None  # evidence for the other one; None of methods that know no label
    for_fake: np.ndarray  # evidence for fake, whatever the label
    as_made: np.ndarray  # the map for the label at the places and on the scale that the method has


def heatmaps(network: Network, crops: Sequence[Image], called_fake: Sequence[bool], method: str = DEFAULT) -> list[Heat]:
    """The maps of each crop for the label that it is called."""
    used = method_for(network, method)
    made = _made(network, crops, used)
    heats = []
    for crop, is_fake, *of_crop in zip(crops, called_fake, *made, *_heats_of(*made, used), strict=True):
        made_for_fake, made_for_real, *both = of_crop
        for_fake, for_real = (over_crop(network.input, heat, crop) for heat in both)
        label, other = (for_fake, for_real) if is_fake else (for_real, for_fake)
        as_made = (made_for_fake if is_fake else made_for_real).numpy()
        heats.append(Heat(label, other if used.is_class_specific else None, for_fake, as_made))
    return heats


def heats_for_fake(network: Network, crops: Sequence[Image], method: str) -> Tensor:
    """The heat for fake (b, h, w), at the places that the method has."""
    return heats_for_and_against_fake(network, crops, method)[0]


def heats_for_and_against_fake(network: Network, crops: Sequence[Image], method: str) -> Maps:
    """The two maps of fakes; the same one twice, if the method has only one."""
    used = method_for(network, method)
    return _heats_of(*_made(network, crops, used), used)


def _heats_of(for_fake: Tensor, for_real: Tensor, used: MapMethod) -> Maps:
    return heat_of(for_fake), heat_against(for_fake, for_real) if used.is_class_specific else heat_of(for_real)


def heat_against(asked: Tensor, other: Tensor) -> Tensor:
    """Where evidence for the other label outweighs that for the one asked for; as hot as it would be in the stronger's map."""
    return heat_of((other - asked).clamp(min=0), torch.maximum(asked.sum((1, 2)), other.sum((1, 2))))


def _made(network: Network, crops: Sequence[Image], used: MapMethod) -> Maps:
    for_fake, for_real = used.of(network, network.input.prepare(list(crops)).to(next(network.parameters()).device))
    return for_fake.cpu(), for_real.cpu()


def concept_heatmaps(network: Network, crop: Image) -> list[tuple[str, float, np.ndarray]]:
    """Of each part that the network weighs by itself: its name, its weight, and its heat over the crop."""
    if (find := parts_of(network)) is None:
        return []
    names, weights, maps = find(network, network.input.prepare([crop]).to(next(network.parameters()).device))
    heats = (over_crop(network.input, heat_of(one.cpu()[None])[0], crop) for one in maps)
    return list(zip(names, weights.tolist(), heats, strict=True))


Asked = tuple[Crop, bool]  # the evidence for fake in it, or for real?
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
        return read_picture(crop.path)  # it may be a user's own, among examples
    except UnreadablePicture as error:
        failures.append({"video": crop.video, "crop": crop.name, "reason": str(error)})
        return None


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
    total = times_fair.sum()
    return times_fair / total if total > 0 else np.full_like(heat, 1 / heat.size)


def confidence(heat: np.ndarray) -> float:
    """How far the map is from saying nothing: 0 where all places are alike, towards 1 where one place has it all."""
    shares = shares_of(heat).ravel()
    entropy = -(shares * np.log(np.maximum(shares, 1e-30))).sum()
    return float(1 - entropy / np.log(shares.size))
