"""Floors: maps that know nothing of the network. What an explanation says beyond them is what it is worth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from model_test_train.networks.input_contract import Image, resized

SIDE = 56  # of a floor's map, and of the masks that are averaged
BLOB = 0.2  # spread of the blob, in sides


@dataclass(frozen=True)
class FaceToGuess:
    """What a floor may know of a face."""

    crop: Image
    others_masks: Sequence[np.ndarray]  # (SIDE, SIDE), of people who share no video with it
    places: int  # the side of the network's feature map
    seed: int  # the face's own


def random_map(face: FaceToGuess) -> np.ndarray:
    return np.random.default_rng(face.seed).random((face.places, face.places))


def centred_blob(face: FaceToGuess) -> np.ndarray:
    away = (np.arange(SIDE) + 0.5) / SIDE - 0.5
    return np.exp(-(away[:, None] ** 2 + away[None, :] ** 2) / (2 * BLOB**2))


def edges(face: FaceToGuess) -> np.ndarray:
    grey = cv2.cvtColor(face.crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    strength = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    return cv2.resize(strength, (face.places, face.places), interpolation=cv2.INTER_AREA)


def mean_mask(face: FaceToGuess) -> np.ndarray:
    """Where others' faces were changed: it has never seen this one."""
    return np.mean(face.others_masks, axis=0) if len(face.others_masks) else np.ones((SIDE, SIDE))


FLOORS: dict[str, Callable[[FaceToGuess], np.ndarray]] = {
    "random": random_map,
    "centred_blob": centred_blob,
    "edges": edges,
    "mean_mask": mean_mask,
}


def small_mask(mask: np.ndarray) -> np.ndarray:
    return resized(mask.astype(np.float32), SIDE, SIDE)
