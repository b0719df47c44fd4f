"""What light, noise and files do to pictures (g, 3, h, w) uint8, at a given strength; nothing moves."""

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv


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
