"""Self-blending: a fake made from one real face (Shiohara and Yamasaki 2022).

A copy of the face, a little moved, is blended over the face itself inside a mask of a face's shape. Either the copy or the face
has before been changed in colour, sharpness or resolution, and compressed. All that tells the fake from the real one is the
blending of two pictures that do not quite match, which is what most manipulations have in common.
"""

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from numpy.random import Generator

from model_test_train.training.augmentations.effects import KERNELS, jpeg, recoloured, resampled, sharpened
from model_test_train.training.augmentations.forgery import HARD, SOFT, Forged, Forgery, Picture, blended, pixel, region_mask
from pipeline.params import setting

RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)  # how much of the copy is seen
BLENDED = 2 * ("face", "face and forehead") + ("inner face", "lower face", "eyes", "mouth", "left half", "right half")
MOST_SHIFT, MOST_HUE = 0.6, 1.0  # at colour 1: of the range of grey levels, and radians
LUMA = (0.299, 0.587, 0.114)
COMPRESSED = 0.5  # probability
BEST_QUALITY = 95


@dataclass(frozen=True)
class SelfBlend(Forgery):
    """Each of the settings may be 0: that ingredient is then left out."""

    shift: float = setting("of the copy, in sides of the crop, at most", low=0, high=0.2)
    colour: float = setting("change of colours, saturation, brightness and contrast, relative, at most", low=0, high=1)
    sharpness: float = setting("of what a small blur takes away, how much is added at most", low=0, high=3)
    resolution: float = setting("of the sides, how much is lost at most", low=0, high=0.9)
    compression: float = setting("of JPEG's quality, how much is lost at most", low=0, high=0.9)
    elastic: float = setting("bending of the mask's outline, in sides of the crop, standard deviation", low=0, high=0.1)
    hard_edges: float = setting("probability that the mask's edge is hard", low=0, high=1)

    DEFAULTS: ClassVar[dict[str, float]] = {
        "sharpness": 1.0,
        "resolution": 0.75,
        "compression": 0.6,
        "elastic": 0.01,
        "hard_edges": 0.3,
    }

    def forge(self, crop: Picture, rng: Generator) -> Forged:
        """The real face is changed too where it, and not the copy, was: so such a change alone is no sign of a fake."""
        changed = self._compressed(self._refocused(self._recoloured(crop, rng), rng), rng)
        real, copy = (crop, changed) if rng.random() < 0.5 else (changed, crop)
        edge = HARD if rng.random() < self.hard_edges else SOFT
        mask = region_mask(crop.shape, str(rng.choice(BLENDED)), self.elastic, edge, rng)
        return blended(real, self._moved(copy, rng), np.float32(rng.choice(RATIOS)) * mask)

    def _recoloured(self, crop: Picture, rng: Generator) -> Picture:
        if not self.colour:
            return crop
        hue, saturation, brightness, contrast = self.colour * rng.uniform(-1, 1, 4)
        matrix = (1 + contrast) * (1 + brightness) * hue_rotation(MOST_HUE * hue) @ saturating(1 + saturation)
        shift = 255 * MOST_SHIFT * self.colour * rng.uniform(-1, 1, 3)
        return recoloured(crop, matrix, shift - contrast * np.array(cv2.mean(crop)[:3]))

    def _refocused(self, crop: Picture, rng: Generator) -> Picture:
        """Sharper or coarser."""
        changes = [name for name in ("sharpness", "resolution") if getattr(self, name)]
        amount, deviation, (there, back) = rng.random(), rng.uniform(0.5, 2) * pixel(crop), rng.choice(KERNELS, 2).tolist()
        if not changes:
            return crop
        if rng.choice(changes) == "sharpness":
            return sharpened(crop, self.sharpness * amount, deviation)
        return resampled(crop, 1 - self.resolution * amount, there, back)

    def _compressed(self, crop: Picture, rng: Generator) -> Picture:
        loss, happens = self.compression * rng.random(), rng.random() < COMPRESSED
        return jpeg(crop, round(BEST_QUALITY * (1 - loss))) if self.compression and happens else crop

    def _moved(self, copy: Picture, rng: Generator) -> Picture:
        height, width = copy.shape[:2]
        scale, (right, down) = 1 + self.shift * rng.uniform(-1, 1), self.shift * rng.uniform(-1, 1, 2) * (width, height)
        move = cv2.getRotationMatrix2D((width / 2, height / 2), 0, scale)
        move[:, 2] += right, down
        return cv2.warpAffine(copy, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def hue_rotation(angle: float) -> np.ndarray:
    """The matrix (3, 3) that turns colours around the grey axis."""
    return cv2.Rodrigues(np.full(3, angle / np.sqrt(3)))[0]


def saturating(factor: float) -> np.ndarray:
    """The matrix (3, 3) that brings colours nearer to their grey, or farther from it."""
    return factor * np.eye(3) + (1 - factor) * np.array([LUMA] * 3)
