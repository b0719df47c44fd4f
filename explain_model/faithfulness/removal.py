"""Removal metrics: how the verdict on a fake changes as the cells of a grid are removed or restored, in a map's order.

Removed pixels are not made black, which no face is. They are blurred, blurred with added noise, or imputed from their
surroundings (ROAD, Rong et al. 2022). If a map shows what decided the verdict, the fake probability falls early when its
hottest cells are removed first (deletion) and rises early when they are restored first (insertion).
"""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from torch import nn

from explain_deepfakes.model_test_train.networks.input_contract import Image
from explain_deepfakes.model_test_train.networks.network import Network
from explain_deepfakes.model_test_train.networks.scoring import fake_probabilities
from explain_deepfakes.model_test_train.training.augmentations import effects

SHARES = np.array([0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1])  # of the cells that are removed
ROAD_SHARES = (0.05, 0.1, 0.2)
BLUR = 1 / 12  # standard deviation, relative to the picture's side
PICTURES_AT_ONCE = 64

Curves = dict[str, np.ndarray]  # <deletion or insertion>_<fill> -> the fake probability at each of SHARES


def blur(picture: Image, rng: np.random.Generator) -> Image:
    pictures = torch.from_numpy(picture).permute(2, 0, 1)[None]
    return effects.blur(pictures, BLUR * picture.shape[0])[0].permute(1, 2, 0).numpy()


def blur_with_noise(picture: Image, rng: np.random.Generator) -> Image:
    """Blur, and add noise as strong as the picture's own: to some networks smoothness alone looks fake."""
    noise = (picture - cv2.blur(picture.astype(np.float32), (3, 3))).std()
    return (blur(picture, rng) + rng.normal(0, noise, picture.shape)).clip(0, 255).round().astype(np.uint8)


FILLS: dict[str, Callable[[Image, np.random.Generator], Image]] = {"blurred": blur, "grained": blur_with_noise}


def rank_cells(heat: torch.Tensor, grid_side: int, seed: int) -> np.ndarray:
    """The indices of the grid's cells, hottest first, for a map (h, w) of any resolution. Ties are ordered at random."""
    coarse = nn.functional.adaptive_avg_pool2d(heat[None, None].double(), grid_side).flatten().numpy()  # (cells,)
    shuffled = np.random.default_rng(seed).permutation(len(coarse))
    return shuffled[np.argsort(-coarse[shuffled], kind="stable")]


def removal_curves(network: Network, picture: Image, rankings: dict[str, np.ndarray], seed: int) -> dict[str, Curves]:
    """For each ranking of the cells of a picture (size, size, 3): its curves."""
    rng = np.random.default_rng(seed)
    filled = {name: fill(picture, rng) for name, fill in FILLS.items()}
    variants = [picture, *filled.values()]
    for ranking in rankings.values():
        for removed in filled.values():
            variants += [_replace_cells(picture, removed, ranking, share) for share in SHARES[1:-1]]
            variants += [_replace_cells(removed, picture, ranking, share) for share in SHARES[1:-1]]
    probabilities = predict_fake_probabilities(network, variants)
    intact, all_removed = probabilities[0], dict(zip(filled, probabilities[1 : 1 + len(filled)], strict=True))
    inner_points = iter(probabilities[1 + len(filled) :].reshape(-1, len(SHARES) - 2))
    table: dict[str, Curves] = {}
    for name in rankings:
        table[name] = {}
        for fill in filled:
            table[name][f"deletion_{fill}"] = np.array([intact, *next(inner_points), all_removed[fill]])
            table[name][f"insertion_{fill}"] = np.array([all_removed[fill], *next(inner_points), intact])
    return table


def road_scores(network: Network, picture: Image, rankings: dict[str, np.ndarray], seed: int) -> dict[str, float]:
    """For each ranking: the mean fake probability after its first cells were imputed from their surroundings."""
    imputer = NoisyLinearImputer()
    torch.manual_seed(seed)
    pixels = torch.from_numpy(picture).permute(2, 0, 1) / 255
    variants = []
    for ranking in rankings.values():
        for share in ROAD_SHARES:
            kept = torch.from_numpy(~_pixels_of_first_cells(ranking, share, picture.shape[0])).float()
            imputed = imputer(pixels, kept).clamp(0, 1) * 255
            variants.append(imputed.round().byte().permute(1, 2, 0).numpy())
    means = predict_fake_probabilities(network, variants).reshape(len(rankings), -1).mean(1)
    return dict(zip(rankings, means.tolist(), strict=True))


def predict_fake_probabilities(network: Network, pictures: list[Image]) -> np.ndarray:
    """The fake probabilities of pictures that have the network's input size."""
    return fake_probabilities(network, torch.from_numpy(np.stack(pictures)).split(PICTURES_AT_ONCE))


def area_under_curve(curve: np.ndarray) -> float:
    return float(np.trapezoid(curve, SHARES))


def _replace_cells(picture: Image, replacement: Image, ranking: np.ndarray, share: float) -> Image:
    """The picture with the first cells taken from the replacement."""
    return np.where(_pixels_of_first_cells(ranking, share, picture.shape[0])[..., None], replacement, picture)


def _pixels_of_first_cells(ranking: np.ndarray, share: float, size: int) -> np.ndarray:
    """A mask (size, size), bool, of the pixels in the first `share` of the cells."""
    side = round(len(ranking) ** 0.5)
    selected = np.zeros(len(ranking), np.uint8)
    selected[ranking[: max(1, round(share * len(ranking)))]] = 1
    return cv2.resize(selected.reshape(side, side), (size, size), interpolation=cv2.INTER_NEAREST) > 0
