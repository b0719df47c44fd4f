"""Stability: faces and a way of making maps -> how alike the maps of nearly the same pictures are."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from explain_model.maps.heatmaps import heats_for_fake, over_crop
from model_test_train.networks.input_contract import Image
from model_test_train.networks.network import Network
from model_test_train.training.augmentations import effects

SHIFT = 0.04  # of the crop's side
QUALITY = 75  # of JPEG
STABILITY = ("shifted", "recompressed")


def stability(network: Network, crops: Sequence[Image], method: str) -> list[dict[str, float]]:
    """Of each crop, over the same pixels of the face."""
    moved, by = zip(*(shifted(crop) for crop in crops), strict=True)
    heats = (heats_for_fake(network, pictures, method) for pictures in (crops, moved, [recompressed(crop) for crop in crops]))
    rows = []
    for crop, pixels, *of_each in zip(crops, by, *heats, strict=True):
        heat, after_shift, after_packing = (over_crop(network.input, one, crop) for one in of_each)
        rows.append(
            {
                "shifted": likeness(heat[:-pixels, :-pixels], after_shift[pixels:, pixels:]),
                "recompressed": likeness(heat, after_packing),
            }
        )
    return rows


def shifted(crop: Image) -> tuple[Image, int]:
    """Down and to the right, edges repeated; by how many pixels."""
    by = max(1, round(SHIFT * min(crop.shape[:2])))
    return cv2.copyMakeBorder(crop, by, 0, by, 0, cv2.BORDER_REPLICATE)[: crop.shape[0], : crop.shape[1]], by


def recompressed(crop: Image) -> Image:
    return effects.compressed(torch.from_numpy(crop).permute(2, 0, 1)[None], QUALITY)[0].permute(1, 2, 0).numpy()


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two maps; 0 where one of them says nothing."""
    if one.std() < 1e-9 or other.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
