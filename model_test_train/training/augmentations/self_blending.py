"""Self-blending: a fake made from a single real face (Shiohara and Yamasaki 2022).

A slightly shifted copy of the face is blended over the face inside a face-shaped mask. Before that, either the copy or the face
is changed in colour, sharpness or resolution, and compressed. The fake differs from the real face only by the blending of two
pictures that do not quite match, which most manipulations have in common.
"""

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from numpy.random import Generator

from explain_deepfakes.model_test_train.training.augmentations.effects import (
    KERNELS,
    compress_picture_jpeg,
    resample,
    sharpen,
    transform_colours,
)
from explain_deepfakes.model_test_train.training.augmentations.forgery import (
    HARD_EDGE,
    SOFT_EDGE,
    ForgedPair,
    Forgery,
    Picture,
    blend,
    detail_scale,
    region_mask,
)
from explain_deepfakes.pipeline.params import setting

RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)  # opacity of the copy
BLENDED = 2 * ("face", "face and forehead") + ("inner face", "lower face", "eyes", "mouth", "left half", "right half")
MAX_SHIFT, MAX_HUE = 0.6, 1.0  # at colour 1: share of the range of grey levels, and radians
LUMA = (0.299, 0.587, 0.114)
COMPRESSION_PROBABILITY = 0.5
BEST_QUALITY = 95


@dataclass(frozen=True)
class SelfBlend(Forgery):
    """A setting of 0 disables its step."""

    shift: float = setting("largest shift and scaling of the copy, in sides of the crop", low=0, high=0.2)
    colour: float = setting("largest relative change of colour, saturation, brightness and contrast", low=0, high=1)
    sharpness: float = setting("largest share of the detail removed by a small blur that is added", low=0, high=3)
    resolution: float = setting("largest share of the side lengths lost", low=0, high=0.9)
    compression: float = setting("largest share of the JPEG quality lost", low=0, high=0.9)
    elastic: float = setting("standard deviation of the mask outline's distortion, in sides of the crop", low=0, high=0.1)
    hard_edges: float = setting("probability of a hard mask edge", low=0, high=1)

    DEFAULTS: ClassVar[dict[str, float]] = {
        "sharpness": 1.0,
        "resolution": 0.75,
        "compression": 0.6,
        "elastic": 0.01,
        "hard_edges": 0.3,
    }

    def forge(self, crop: Picture, rng: Generator) -> ForgedPair:
        """The changed picture is the copy or the real face, at random, so the change alone does not reveal the fake."""
        changed = self._compress(self._change_sharpness(self._change_colour(crop, rng), rng), rng)
        real, copy = (crop, changed) if rng.random() < 0.5 else (changed, crop)
        edge = HARD_EDGE if rng.random() < self.hard_edges else SOFT_EDGE
        mask = region_mask(crop.shape, str(rng.choice(BLENDED)), self.elastic, edge, rng)
        return blend(real, self._shift(copy, rng), np.float32(rng.choice(RATIOS)) * mask)

    def _change_colour(self, crop: Picture, rng: Generator) -> Picture:
        if not self.colour:
            return crop
        hue, saturation, brightness, contrast = self.colour * rng.uniform(-1, 1, 4)
        matrix = (1 + contrast) * (1 + brightness) * hue_matrix(MAX_HUE * hue) @ saturation_matrix(1 + saturation)
        shift = 255 * MAX_SHIFT * self.colour * rng.uniform(-1, 1, 3)
        return transform_colours(crop, matrix, shift - contrast * np.array(cv2.mean(crop)[:3]))

    def _change_sharpness(self, crop: Picture, rng: Generator) -> Picture:
        """Sharpen or resample the crop."""
        changes = [name for name in ("sharpness", "resolution") if getattr(self, name)]
        amount, deviation = rng.random(), rng.uniform(0.5, 2) * detail_scale(crop)
        kernel, kernel_back = rng.choice(KERNELS, 2).tolist()
        if not changes:
            return crop
        if rng.choice(changes) == "sharpness":
            return sharpen(crop, self.sharpness * amount, deviation)
        return resample(crop, 1 - self.resolution * amount, kernel, kernel_back)

    def _compress(self, crop: Picture, rng: Generator) -> Picture:
        loss, is_compressed = self.compression * rng.random(), rng.random() < COMPRESSION_PROBABILITY
        return compress_picture_jpeg(crop, round(BEST_QUALITY * (1 - loss))) if self.compression and is_compressed else crop

    def _shift(self, copy: Picture, rng: Generator) -> Picture:
        height, width = copy.shape[:2]
        scale, (right, down) = 1 + self.shift * rng.uniform(-1, 1), self.shift * rng.uniform(-1, 1, 2) * (width, height)
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 0, scale)
        matrix[:, 2] += right, down
        return cv2.warpAffine(copy, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def hue_matrix(angle: float) -> np.ndarray:
    """The matrix (3, 3) that rotates colours around the grey axis."""
    return cv2.Rodrigues(np.full(3, angle / np.sqrt(3)))[0]


def saturation_matrix(factor: float) -> np.ndarray:
    """The matrix (3, 3) that scales the saturation of colours."""
    return factor * np.eye(3) + (1 - factor) * np.array([LUMA] * 3)
