"""What a face crop may have gone through before it is judged, each in five steps from slight to severe.

Pictures (height, width, 3) uint8 in and out. What is drawn at random depends on the generator alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

Picture = np.ndarray
SEVERITIES = 5


@dataclass(frozen=True)
class Corruption:
    steps: tuple[float, ...]  # one a severity
    words: str  # what the step says
    apply: Callable[[Picture, float, Generator], Picture]


def _to_bytes(picture: np.ndarray) -> Picture:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _gaussian_noise(picture: Picture, deviation: float, rng: Generator) -> Picture:
    return _to_bytes(picture + rng.normal(0, deviation, picture.shape))


def _salt_and_pepper(picture: Picture, share: float, rng: Generator) -> Picture:
    drawn = rng.random(picture.shape[:2])
    spoilt = picture.copy()
    spoilt[drawn < share / 2], spoilt[drawn > 1 - share / 2] = 0, 255
    return spoilt


def _blur(picture: Picture, deviation: float, rng: Generator) -> Picture:
    return cv2.GaussianBlur(picture, (0, 0), deviation)


def _jpeg(picture: Picture, quality: float, rng: Generator) -> Picture:
    coded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    return decoded[..., ::-1].copy()


def _brightness(picture: Picture, factor: float, rng: Generator) -> Picture:
    return _to_bytes(picture * (factor if rng.random() < 0.5 else 1 / factor))


def _contrast(picture: Picture, factor: float, rng: Generator) -> Picture:
    mean = picture.mean()
    return _to_bytes((picture - mean) * (factor if rng.random() < 0.5 else 1 / factor) + mean)


def _resize(picture: Picture, share: float, rng: Generator) -> Picture:
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (max(1, round(width * share)), max(1, round(height * share))), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


CORRUPTIONS = {
    "gaussian_noise": Corruption((2, 5, 10, 20, 40), "standard deviation, grey levels", _gaussian_noise),
    "salt_and_pepper": Corruption((0.002, 0.005, 0.01, 0.03, 0.1), "share of the pixels", _salt_and_pepper),
    "blur": Corruption((0.4, 0.7, 1.0, 2.0, 4.0), "standard deviation, px of the crop", _blur),
    "jpeg": Corruption((95, 80, 60, 40, 20), "quality", _jpeg),
    "brightness": Corruption((0.9, 0.8, 0.65, 0.5, 0.35), "factor, or one over it", _brightness),
    "contrast": Corruption((0.9, 0.8, 0.65, 0.5, 0.35), "factor around the mean, or one over it", _contrast),
    "resize": Corruption((0.9, 0.75, 0.5, 0.35, 0.25), "share of the sides, and back", _resize),
}
