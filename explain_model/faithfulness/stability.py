"""Stability metrics: how similar the maps of a crop and of slightly changed copies of it are."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from explain_deepfakes.explain_model.maps.heatmaps import compute_fake_heatmaps, resize_to_crop
from explain_deepfakes.model_test_train.networks.input_contract import Image
from explain_deepfakes.model_test_train.networks.network import Network
from explain_deepfakes.model_test_train.training.augmentations import effects

SHIFT = 0.04  # relative to the crop's side
QUALITY = 75  # of JPEG
STABILITY_METRICS = ("shifted", "recompressed")


def stability_metrics(network: Network, crops: Sequence[Image], method: str) -> list[dict[str, float]]:
    """STABILITY_METRICS of each crop; maps are compared over the same pixels of the face."""
    shifted, offsets = zip(*(shift(crop) for crop in crops), strict=True)
    variants = (crops, shifted, [recompress(crop) for crop in crops])
    heats = (compute_fake_heatmaps(network, pictures, method) for pictures in variants)
    rows = []
    for crop, pixels, *maps in zip(crops, offsets, *heats, strict=True):
        heat, heat_shifted, heat_recompressed = (resize_to_crop(network.input, variant, crop) for variant in maps)
        rows.append(
            {
                "shifted": map_correlation(heat[:-pixels, :-pixels], heat_shifted[pixels:, pixels:]),
                "recompressed": map_correlation(heat, heat_recompressed),
            }
        )
    return rows


def shift(crop: Image) -> tuple[Image, int]:
    """The crop moved down and to the right, with its edges repeated, and the offset in pixels."""
    offset = max(1, round(SHIFT * min(crop.shape[:2])))
    return cv2.copyMakeBorder(crop, offset, 0, offset, 0, cv2.BORDER_REPLICATE)[: crop.shape[0], : crop.shape[1]], offset


def recompress(crop: Image) -> Image:
    return effects.compress_jpeg(torch.from_numpy(crop).permute(2, 0, 1)[None], QUALITY)[0].permute(1, 2, 0).numpy()


def map_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson correlation of two maps; 0 if either is constant."""
    if first.std() < 1e-9 or second.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])
