"""Removal: a fake, an order of its places -> how the verdict follows as they are taken away, or put back, in that order.

What is taken away is not made black, which no face is: it is blurred, blurred under noise, or filled in from around it (ROAD,
Rong et al. 2022). A map that tells what decided makes the verdict fall soon (deletion), or come back soon (insertion).
"""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from torch import nn

from model_test_train.networks.input_contract import Image
from model_test_train.networks.network import Network
from model_test_train.networks.scoring import fake_probabilities
from model_test_train.training.augmentations import effects

SHARES = np.array([0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1])  # of the places, that are taken away
FILLED_IN = (0.05, 0.1, 0.2)  # with ROAD
BLUR = 1 / 12  # spread, in sides of the picture
AT_ONCE = 64  # pictures that the network sees

Curves = dict[str, np.ndarray]  # what was done -> the verdict's probability at each share


def blurred(picture: Image, rng: np.random.Generator) -> Image:
    pictures = torch.from_numpy(picture).permute(2, 0, 1)[None]
    return effects.blurred(pictures, BLUR * picture.shape[0])[0].permute(1, 2, 0).numpy()


def grained(picture: Image, rng: np.random.Generator) -> Image:
    """Blurred, under noise as strong as the picture's own grain: what is only smooth may look like a fake by itself."""
    grain = (picture - cv2.blur(picture.astype(np.float32), (3, 3))).std()
    return (blurred(picture, rng) + rng.normal(0, grain, picture.shape)).clip(0, 255).round().astype(np.uint8)


FILLS: dict[str, Callable[[Image, np.random.Generator], Image]] = {"blurred": blurred, "grained": grained}


def order_of(heat: torch.Tensor, places: int, seed: int) -> np.ndarray:
    """A map of any resolution -> the numbers of the places, hottest first; of equal ones, any."""
    coarse = nn.functional.adaptive_avg_pool2d(heat[None, None].double(), places).flatten().numpy()
    any_order = np.random.default_rng(seed).permutation(len(coarse))
    return any_order[np.argsort(-coarse[any_order], kind="stable")]


def curves(network: Network, picture: Image, orders: dict[str, np.ndarray], seed: int) -> dict[str, Curves]:
    """For each order of the places of a fitted picture (size, size, 3): what becomes of the verdict."""
    rng = np.random.default_rng(seed)
    fills = {name: fill(picture, rng) for name, fill in FILLS.items()}
    changed = [picture, *fills.values()]
    for order in orders.values():
        for filled in fills.values():
            changed += [_mixed(picture, filled, order, share) for share in SHARES[1:-1]]
            changed += [_mixed(filled, picture, order, share) for share in SHARES[1:-1]]
    found = fakeness(network, changed)
    whole, gone = found[0], dict(zip(fills, found[1 : 1 + len(fills)], strict=True))
    steps = iter(found[1 + len(fills) :].reshape(-1, len(SHARES) - 2))
    table: dict[str, Curves] = {}
    for name in orders:
        table[name] = {}
        for fill in fills:
            table[name][f"deletion_{fill}"] = np.array([whole, *next(steps), gone[fill]])
            table[name][f"insertion_{fill}"] = np.array([gone[fill], *next(steps), whole])
    return table


def road(network: Network, picture: Image, orders: dict[str, np.ndarray], seed: int) -> dict[str, float]:
    """For each order: the verdict's mean probability when its first places are filled in from what is around them."""
    imputer = NoisyLinearImputer()
    torch.manual_seed(seed)
    pixels = torch.from_numpy(picture).permute(2, 0, 1) / 255
    changed = []
    for order in orders.values():
        for share in FILLED_IN:
            kept = torch.from_numpy(~_first(order, share, picture.shape[0])).float()
            filled = imputer(pixels, kept).clamp(0, 1) * 255
            changed.append(filled.round().byte().permute(1, 2, 0).numpy())
    means = fakeness(network, changed).reshape(len(orders), -1).mean(1)
    return dict(zip(orders, means.tolist(), strict=True))


def fakeness(network: Network, pictures: list[Image]) -> np.ndarray:
    """The fake probabilities of fitted pictures."""
    return fake_probabilities(network, torch.from_numpy(np.stack(pictures)).split(AT_ONCE))


def under(curve: np.ndarray) -> float:
    """The area under a curve over the share of places."""
    return float(np.trapezoid(curve, SHARES))


def _mixed(below: Image, above: Image, order: np.ndarray, share: float) -> Image:
    """The first places from above, the others from below."""
    return np.where(_first(order, share, below.shape[0])[..., None], above, below)


def _first(order: np.ndarray, share: float, size: int) -> np.ndarray:
    """The pixels of the first places, as bool (size, size)."""
    side = round(len(order) ** 0.5)
    chosen = np.zeros(len(order), np.uint8)
    chosen[order[: max(1, round(share * len(order)))]] = 1
    return cv2.resize(chosen.reshape(side, side), (size, size), interpolation=cv2.INTER_NEAREST) > 0
