"""Heatmaps: face crops -> arrays in [0, 1] over the crops' own pixels.

The scale is absolute. A position with the average evidence (1/N of the total over N positions) has heat 0.25, with three
times the average 0.5, with nine times 0.75. The map of an undecided network stays pale: its noise is not stretched.

Attention heads that support fake and those that support real attend to nearly the same positions. Evidence for real therefore
counts only where it outweighs the evidence for fake at the same position.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor, nn

from explain_deepfakes.explain_model.maps.concepts import concepts_of
from explain_deepfakes.explain_model.maps.methods import DEFAULT, ClassMaps, MapMethod, get_map_method
from explain_deepfakes.model_test_train.networks.input_contract import Image, InputContract
from explain_deepfakes.model_test_train.networks.network import Network
from explain_deepfakes.preprocessing.crops.crops import Crop
from explain_deepfakes.preprocessing.crops.stores import UnreadablePicture, read_picture

HEAT_AT_AVERAGE = 0.25  # heat of a position that has the average relevancy


class FailureRow(TypedDict):
    """A row of failures.csv."""

    video: str
    crop: str
    reason: str


@dataclass(frozen=True)
class Heatmaps:
    """The maps of a face for a label, float32 (height, width) of its crop."""

    evidence_for: np.ndarray  # evidence for the label
    evidence_against: np.ndarray | None  # evidence for the other label; None if the method is not class-specific
    for_fake: np.ndarray  # evidence for fake, whatever the label
    unscaled: np.ndarray  # the map for the label, in the method's own resolution and scale


def compute_heatmaps(
    network: Network, crops: Sequence[Image], called_fake: Sequence[bool], method: str = DEFAULT
) -> list[Heatmaps]:
    """The maps of each crop, for the label that it was given."""
    map_method = get_map_method(network, method)
    class_maps = _compute_class_maps(network, crops, map_method)
    heatmaps = []
    per_crop = zip(crops, called_fake, *class_maps, *_to_heat(*class_maps, map_method), strict=True)
    for crop, is_fake, unscaled_fake, unscaled_real, *heats in per_crop:
        for_fake, for_real = (resize_to_crop(network.input, heat, crop) for heat in heats)
        evidence_for, evidence_against = (for_fake, for_real) if is_fake else (for_real, for_fake)
        unscaled = (unscaled_fake if is_fake else unscaled_real).numpy()
        has_evidence_against = map_method.is_class_specific
        heatmaps.append(Heatmaps(evidence_for, evidence_against if has_evidence_against else None, for_fake, unscaled))
    return heatmaps


def compute_fake_heatmaps(network: Network, crops: Sequence[Image], method: str) -> Tensor:
    """The heat for fake (b, h, w), in the resolution of the method."""
    return compute_fake_and_real_heatmaps(network, crops, method)[0]


def compute_fake_and_real_heatmaps(network: Network, crops: Sequence[Image], method: str) -> ClassMaps:
    """The heat for fake and for real; the same map twice if the method is not class-specific."""
    map_method = get_map_method(network, method)
    return _to_heat(*_compute_class_maps(network, crops, map_method), map_method)


def _to_heat(for_fake: Tensor, for_real: Tensor, map_method: MapMethod) -> ClassMaps:
    if map_method.is_class_specific:
        return relevancy_to_heat(for_fake), opposing_heat(for_fake, for_real)
    return relevancy_to_heat(for_fake), relevancy_to_heat(for_real)


def opposing_heat(relevancy: Tensor, opposing_relevancy: Tensor) -> Tensor:
    """The heat (b, h, w) where the opposing relevancy is larger, on the scale of the map with the larger total."""
    total = torch.maximum(relevancy.sum((1, 2)), opposing_relevancy.sum((1, 2)))
    return relevancy_to_heat((opposing_relevancy - relevancy).clamp(min=0), total)


def _compute_class_maps(network: Network, crops: Sequence[Image], map_method: MapMethod) -> ClassMaps:
    pixels = network.input.prepare(list(crops)).to(next(network.parameters()).device)
    for_fake, for_real = map_method.compute(network, pixels)
    return for_fake.cpu(), for_real.cpu()


def concept_heatmaps(network: Network, crop: Image) -> list[tuple[str, float, np.ndarray]]:
    """Name, weight and heat over the crop of each concept that the network weighs; empty for other networks."""
    if (find_concepts := concepts_of(network)) is None:
        return []
    concepts = find_concepts(network, network.input.prepare([crop]).to(next(network.parameters()).device))
    heats = (resize_to_crop(network.input, relevancy_to_heat(part.cpu()[None])[0], crop) for part in concepts.maps)
    return list(zip(concepts.names, concepts.weights.tolist(), heats, strict=True))


LabelledCrop = tuple[Crop, bool]  # and whether to explain it as fake or as real
ExplainedCrop = tuple[Image, Heatmaps]


def explain_crops(
    network: Network, crops: Sequence[LabelledCrop | None], method: str, batch_size: int, failures: list[FailureRow]
) -> Iterator[ExplainedCrop | None]:
    """Yield each crop with its maps, or None where there is no readable crop. Works in batches to bound the memory."""
    for first in range(0, len(crops), batch_size):
        batch = crops[first : first + batch_size]
        pictures = [None if labelled is None else _read_or_note_failure(labelled[0], failures) for labelled in batch]
        readable = [
            (picture, labelled[1])
            for picture, labelled in zip(pictures, batch, strict=True)
            if labelled is not None and picture is not None
        ]
        faces, called_fake = [picture for picture, _ in readable], [is_fake for _, is_fake in readable]
        heatmaps = iter(compute_heatmaps(network, faces, called_fake, method) if readable else ())
        yield from (None if picture is None else (picture, next(heatmaps)) for picture in pictures)


def _read_or_note_failure(crop: Crop, failures: list[FailureRow]) -> Image | None:
    try:
        return read_picture(crop.path)  # may be a user's own picture, from a folder of examples
    except UnreadablePicture as error:
        failures.append({"video": crop.video, "crop": crop.name, "reason": str(error)})
        return None


def resize_to_crop(contract: InputContract, heat: Tensor, crop: Image) -> np.ndarray:
    """A map (h, w) of any resolution over the network's input -> the same over the crop's own pixels (height, width)."""
    large = nn.functional.interpolate(heat[None, None], size=(contract.size, contract.size), mode="bilinear")[0, 0]
    return contract.unfit(large.cpu().numpy(), *crop.shape[:2])


def relevancy_to_heat(relevancy: Tensor, total: Tensor | None = None) -> Tensor:
    """Relevancy (b, h, w) -> heat in [0, 1), by the multiple of the fair share of `total` (default: the map's sum)."""
    positions = relevancy[0].numel()
    total = relevancy.sum((1, 2), keepdim=True) if total is None else total.view(-1, 1, 1)
    times_fair = torch.where(total > 0, relevancy * positions / total.clamp(min=1e-30), torch.ones_like(relevancy))
    return times_fair / (times_fair + (1 - HEAT_AT_AVERAGE) / HEAT_AT_AVERAGE)


def peak(heat: np.ndarray) -> tuple[int, int]:
    """(x, y) of the hottest pixel; of several equal ones, the middle one."""
    rows, columns = np.nonzero(heat == heat.max())
    middle = len(rows) // 2
    return int(columns[middle]), int(rows[middle])


def relevancy_shares(heat: np.ndarray) -> np.ndarray:
    """The share of the total relevancy that each pixel has."""
    times_fair = heat / np.maximum(1 - heat, 1e-9)
    total = times_fair.sum()
    return times_fair / total if total > 0 else np.full_like(heat, 1 / heat.size)


def confidence(heat: np.ndarray) -> float:
    """One minus the normalised entropy: 0 for a uniform map, close to 1 for a map with a single hot position."""
    shares = relevancy_shares(heat).ravel()
    entropy = -(shares * np.log(np.maximum(shares, 1e-30))).sum()
    return float(1 - entropy / np.log(shares.size))
