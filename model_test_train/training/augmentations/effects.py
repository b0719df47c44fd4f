"""What light, noise and files do to pictures (g, 3, h, w) uint8, at a given strength; nothing moves.

Below `each`, the same for one picture (h, w, 3) uint8.
"""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

KERNELS = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4, cv2.INTER_AREA)  # that people resize pictures with


def rounded(pictures: Tensor) -> Tensor:
    return pictures.round().clamp(0, 255).byte()


def brighter(pictures: Tensor, factor: float) -> Tensor:
    return tv.adjust_brightness(pictures, factor)


def contrasted(pictures: Tensor, factor: float) -> Tensor:
    """Around the picture's mean."""
    return tv.adjust_contrast(pictures, factor)


def noisy(pictures: Tensor, deviation: float, rng: Generator) -> Tensor:
    """`deviation` in grey levels."""
    return rounded(pictures + torch.from_numpy(deviation * rng.standard_normal(pictures.shape, np.float32)))


def blurred(pictures: Tensor, deviation: float) -> Tensor:
    """`deviation` in px."""
    return tv.gaussian_blur(pictures, [2 * round(2 * deviation) + 1] * 2, [deviation] * 2)


def compressed(pictures: Tensor, quality: int) -> Tensor:
    """JPEG and back."""
    return torch.stack([tv.jpeg(picture, quality) for picture in pictures])


def coarser(pictures: Tensor, share: float) -> Tensor:
    """Made smaller to that share of the sides, and larger again."""
    height, width = pictures.shape[2:]
    small = tv.resize(pictures, [max(1, round(height * share)), max(1, round(width * share))], antialias=True)
    return tv.resize(small, [height, width], InterpolationMode.BILINEAR)


def each(pictures: Tensor, change: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """Each of the pictures, changed alike."""
    changed = [change(np.ascontiguousarray(picture)) for picture in pictures.permute(0, 2, 3, 1).numpy()]
    return torch.from_numpy(np.stack(changed)).permute(0, 3, 1, 2)


def recoloured(picture: np.ndarray, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Each pixel's colour by a matrix (3, 3) and a shift (3,), grey levels."""
    return cv2.transform(picture, np.column_stack([matrix, shift]))


def sharpened(picture: np.ndarray, amount: float, deviation: float) -> np.ndarray:
    """Unsharp masking: what a blur of that deviation, px, takes away is added again, times `amount`."""
    soft = cv2.GaussianBlur(picture, (0, 0), deviation)
    return cv2.addWeighted(picture, 1 + amount, soft, -amount, 0)


def resampled(picture: np.ndarray, share: float, there: int, back: int) -> np.ndarray:
    """Resized to that share of the sides, and back, by two kernels of cv2's."""
    height, width = picture.shape[:2]
    between = max(1, round(width * share)), max(1, round(height * share))
    return cv2.resize(cv2.resize(picture, between, interpolation=there), (width, height), interpolation=back)


def jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    """JPEG and back."""
    file = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR_RGB))
