"""Photometric effects of light, noise and file formats at a given strength.

Functions up to `apply_to_each` take pictures (g, 3, h, w) uint8, those below it one picture (h, w, 3) uint8.
"""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

KERNELS = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4, cv2.INTER_AREA)  # common kernels for resizing


def to_uint8(pictures: Tensor) -> Tensor:
    return pictures.round().clamp(0, 255).byte()


def adjust_brightness(pictures: Tensor, factor: float) -> Tensor:
    return tv.adjust_brightness(pictures, factor)


def adjust_contrast(pictures: Tensor, factor: float) -> Tensor:
    """Scale the contrast around the picture's mean."""
    return tv.adjust_contrast(pictures, factor)


def add_noise(pictures: Tensor, deviation: float, rng: Generator) -> Tensor:
    """Add Gaussian noise of a standard deviation in grey levels."""
    return to_uint8(pictures + torch.from_numpy(deviation * rng.standard_normal(pictures.shape, np.float32)))


def blur(pictures: Tensor, deviation: float) -> Tensor:
    """Blur with a Gaussian of a standard deviation in px."""
    return tv.gaussian_blur(pictures, [2 * round(2 * deviation) + 1] * 2, [deviation] * 2)


def compress_jpeg(pictures: Tensor, quality: int) -> Tensor:
    """Encode as JPEG and decode again."""
    return torch.stack([tv.jpeg(picture, quality) for picture in pictures])


def downscale(pictures: Tensor, share: float) -> Tensor:
    """Shrink to a share of the side lengths, and enlarge again."""
    height, width = pictures.shape[2:]
    small = tv.resize(pictures, [max(1, round(height * share)), max(1, round(width * share))], antialias=True)
    return tv.resize(small, [height, width], InterpolationMode.BILINEAR)


def apply_to_each(pictures: Tensor, transform: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """Apply a transform of one picture to each of the pictures."""
    transformed = [transform(np.ascontiguousarray(picture)) for picture in pictures.permute(0, 2, 3, 1).numpy()]
    return torch.from_numpy(np.stack(transformed)).permute(0, 3, 1, 2)


def transform_colours(picture: np.ndarray, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Transform each pixel's colour by a matrix (3, 3) and a shift (3,) in grey levels."""
    return cv2.transform(picture, np.column_stack([matrix, shift]))


def sharpen(picture: np.ndarray, amount: float, deviation: float) -> np.ndarray:
    """Unsharp masking: add `amount` times the detail that a blur of that deviation (px) removes."""
    blurred = cv2.GaussianBlur(picture, (0, 0), deviation)
    return cv2.addWeighted(picture, 1 + amount, blurred, -amount, 0)


def resample(picture: np.ndarray, share: float, kernel: int, kernel_back: int) -> np.ndarray:
    """Resize to a share of the side lengths and back, by two of cv2's interpolation kernels."""
    height, width = picture.shape[:2]
    size = max(1, round(width * share)), max(1, round(height * share))
    return cv2.resize(cv2.resize(picture, size, interpolation=kernel), (width, height), interpolation=kernel_back)


def compress_picture_jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    """Encode as JPEG and decode again."""
    file = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR_RGB))
