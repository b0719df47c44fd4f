"""What a training crop goes through before the network sees it, so that the network learns faces and not files."""

from dataclasses import dataclass

import cv2
import numpy as np

from model_test_train.inputs import Image


@dataclass(frozen=True)
class Look:
    """How a crop is seen this once: moved (its mask moves with it), and lit."""

    flipped: bool
    share: float  # of the crop's sides that is seen
    left: float  # in [0, 1], where in the crop that part lies
    top: float
    gain: float
    lift: float  # grey levels
    noise: float  # standard deviation, grey levels
    noise_seed: int

    def moved(self, picture: np.ndarray) -> np.ndarray:
        part = cut(picture, self.share, self.left, self.top)
        return cv2.flip(part, 1) if self.flipped else part

    def lit(self, picture: Image) -> Image:
        """Contrast about the picture's mean, brightness, and sensor noise."""
        if (self.gain, self.lift, self.noise) == (1, 0, 0):
            return picture
        mean = float(picture.mean())
        lit = (picture.astype(np.float32) - mean) * self.gain + mean + self.lift
        if self.noise:
            lit += np.random.default_rng(self.noise_seed).normal(0, self.noise, picture.shape).astype(np.float32)
        return np.clip(np.rint(lit), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Augmentation:
    """How far looks may differ; zero leaves that property alone."""

    flip: float
    shift: float
    brightness: float
    contrast: float
    noise: float

    def draw(self, generator: np.random.Generator) -> Look:
        # Everything is drawn whatever the strengths are, so that changing one does not change the others' draws.
        flip, share, left, top, noise = generator.random(5)
        brightness, contrast = generator.uniform(-1, 1, 2)
        return Look(
            flipped=bool(flip < self.flip),
            share=1 - self.shift * share,
            left=left,
            top=top,
            gain=1 + self.contrast * contrast,
            lift=255 * self.brightness * brightness,
            noise=self.noise * noise,
            noise_seed=int(generator.integers(2**31)),
        )


def cut(crop: np.ndarray, share: float, left: float, top: float) -> np.ndarray:
    """A part of the crop, `share` of its sides long; `left` and `top` in [0, 1] say where it lies."""
    height, width = crop.shape[:2]
    part_height, part_width = max(1, round(height * share)), max(1, round(width * share))
    y, x = round(top * (height - part_height)), round(left * (width - part_width))
    return crop[y : y + part_height, x : x + part_width]
