"""Baseline maps that are independent of the network. An explanation is worth what it adds to them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from explain_deepfakes.model_test_train.networks.input_contract import Image, resize

SIDE = 56  # of the baseline maps and of the masks that are averaged
BLOB = 0.2  # standard deviation of the blob, relative to the side


@dataclass(frozen=True)
class BaselineInput:
    """What a baseline map may depend on."""

    crop: Image
    other_masks: Sequence[np.ndarray]  # (SIDE, SIDE), of videos that share no person with this one
    grid_side: int  # of the network's feature map
    seed: int  # differs per face


def random_map(face: BaselineInput) -> np.ndarray:
    return np.random.default_rng(face.seed).random((face.grid_side, face.grid_side))


def centred_blob(face: BaselineInput) -> np.ndarray:
    offsets = (np.arange(SIDE) + 0.5) / SIDE - 0.5
    return np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * BLOB**2))


def edges(face: BaselineInput) -> np.ndarray:
    grey = cv2.cvtColor(face.crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    strength = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    return cv2.resize(strength, (face.grid_side, face.grid_side), interpolation=cv2.INTER_AREA)


def mean_mask(face: BaselineInput) -> np.ndarray:
    """The mean of the other videos' masks."""
    return np.mean(face.other_masks, axis=0) if len(face.other_masks) else np.ones((SIDE, SIDE))


BASELINES: dict[str, Callable[[BaselineInput], np.ndarray]] = {
    "random": random_map,
    "centred_blob": centred_blob,
    "edges": edges,
    "mean_mask": mean_mask,
}


def shrink_mask(mask: np.ndarray) -> np.ndarray:
    return resize(mask.astype(np.float32), SIDE, SIDE)
