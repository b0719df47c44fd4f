"""Photometric augmentations: light, colour, noise and traces of file formats.

They transform all pictures (g, 3, h, w) uint8 of a group alike, so that a fake is lit as its original.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from numpy.random import Generator
from scipy.fft import dctn, idctn
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from explain_deepfakes.model_test_train.training.augmentations.chance import RandomEffect
from explain_deepfakes.model_test_train.training.augmentations.effects import (
    KERNELS,
    add_noise,
    adjust_brightness,
    adjust_contrast,
    apply_to_each,
    blur,
    compress_jpeg,
    downscale,
    resample,
    sharpen,
    to_uint8,
)
from explain_deepfakes.model_test_train.training.augmentations.video_codecs import Encoding, encode
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.params import setting

GREY = 127


@dataclass(frozen=True)
class Photometric(RandomEffect, ABC):
    @abstractmethod
    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        """Transform the pictures of a group."""


@dataclass(frozen=True)
class Brightness(Photometric):
    most: float = setting("largest relative change", low=0, high=1)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        return adjust_brightness(pictures, 1 + self.most * rng.uniform(-1, 1))


@dataclass(frozen=True)
class Contrast(Photometric):
    most: float = setting("largest relative change, around the picture's mean", low=0, high=1)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        return adjust_contrast(pictures, 1 + self.most * rng.uniform(-1, 1))


@dataclass(frozen=True)
class Hue(Photometric):
    most: float = setting("largest shift, as a share of the colour circle", low=0, high=0.5)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        return tv.adjust_hue(pictures, self.most * rng.uniform(-1, 1))


@dataclass(frozen=True)
class Grey(Photometric):
    """Remove colour."""

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        return tv.rgb_to_grayscale(pictures, num_output_channels=3)


@dataclass(frozen=True)
class PcaColour(Photometric):
    """Shift colours along the principal components of the picture's own colours, as in AlexNet's training."""

    most: float = setting("standard deviation of the shift, in standard deviations of the colours", low=0)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        colours = pictures.double().permute(1, 0, 2, 3).flatten(1)
        values, directions = torch.linalg.eigh(torch.cov(colours))
        steps = torch.from_numpy(rng.normal(0, self.most, 3)) * values.clamp(min=0).sqrt()
        return to_uint8(pictures + (directions @ steps).view(3, 1, 1))


@dataclass(frozen=True)
class Gamma(Photometric):
    """Darken or lighten the mid-tones; black and white stay."""

    most: float = setting("largest logarithm of the exponent", low=0)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        return to_uint8(255 * (pictures / 255) ** np.exp(self.most * rng.uniform(-1, 1)))


@dataclass(frozen=True)
class WhiteBalance(Photometric):
    """Warmer or colder light, by a factor for each channel."""

    most: float = setting("largest logarithm of the factors of red, green and blue", low=0)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        factors = torch.from_numpy(np.exp(self.most * rng.uniform(-1, 1, 3)))
        return to_uint8(pictures * (factors / factors.mean()).float().view(3, 1, 1))


@dataclass(frozen=True)
class Noise(Photometric):
    """Sensor noise."""

    most: float = setting("largest standard deviation, grey levels", low=0)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        return add_noise(pictures, self.most * rng.random(), rng)


@dataclass(frozen=True)
class DctNoise(Photometric):
    """Noise in the frequency domain: scale each frequency except the mean independently."""

    most: float = setting("largest standard deviation of the factors", low=0)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        frequencies = dctn(pictures.numpy().astype(np.float32), axes=(2, 3), norm="ortho")
        factors = 1 + self.most * rng.random() * rng.standard_normal(frequencies.shape[2:], np.float32)
        factors[0, 0] = 1
        return to_uint8(torch.from_numpy(idctn(frequencies * factors, axes=(2, 3), norm="ortho")))


@dataclass(frozen=True)
class Blur(Photometric):
    most: float = setting("largest standard deviation, px", low=0)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        return blur(pictures, max(0.05, self.most * rng.random()))


@dataclass(frozen=True)
class Sharpen(Photometric):
    """Unsharp masking, as in cameras and photo editors."""

    most: float = setting("largest share of the detail removed by a small blur that is added", low=0)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        amount, deviation = self.most * rng.random(), rng.uniform(0.5, 2)
        return apply_to_each(pictures, lambda picture: sharpen(picture, amount, deviation))


@dataclass(frozen=True)
class Jpeg(Photometric):
    """Recompress as JPEG."""

    least: int = setting("lowest quality; the highest is 95", low=1, high=95)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        return compress_jpeg(pictures, int(rng.integers(self.least, 96)))


@dataclass(frozen=True)
class Downscale(Photometric):
    """Lose resolution: shrink and enlarge again."""

    least: float = setting("smallest share of the side lengths", low=0.05, high=1)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        return downscale(pictures, rng.uniform(self.least, 1))


@dataclass(frozen=True)
class Resize(Photometric):
    """Resize and resize back with random kernels, as face alignment in other tools does."""

    least: float = setting("smallest share of the side lengths; the largest is 1 / least", low=0.05, high=1)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        share, (kernel, kernel_back) = self.least ** rng.uniform(-1, 1), rng.choice(KERNELS, 2).tolist()
        return apply_to_each(pictures, lambda picture: resample(picture, share, kernel, kernel_back))


@dataclass(frozen=True)
class Codec(Photometric):
    """Encode as video by H.264, HEVC, MPEG-4 or MPEG-1: each picture of a group separately, with the same settings."""

    best: int = setting("lowest crf of H.264, or the equivalent of the other codecs", low=0, high=51)
    worst: int = setting("highest crf, see best", low=0, high=51)
    least: float = setting("smallest share of the side lengths at which half of the pictures are encoded", low=0.1, high=1)
    twice: float = setting("probability of a second encoding", low=0, high=1)

    def __post_init__(self) -> None:
        if self.best > self.worst:
            raise UserError(f"augmentation.codec.best is {self.best}; it must not be above worst, {self.worst}")

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        count = 1 + (rng.random() < self.twice)
        encodings = [Encoding.draw(rng, self.best, self.worst, self.least) for _ in range(count)]
        return apply_to_each(pictures, lambda picture: reduce(encode, encodings, picture))


@dataclass(frozen=True)
class GridMask(Photometric):
    """Hide the squares of a grid, so that the network cannot rely on a single region."""

    share: float = setting("share of the picture that is hidden", low=0, high=0.9)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        height, width = pictures.shape[2:]
        period = int(rng.integers(max(2, height // 8), max(3, height // 3)))
        side = round(period * self.share**0.5)
        rows, columns = ((np.arange(length) + rng.integers(period)) % period < side for length in (height, width))
        return pictures.masked_fill(torch.from_numpy(rows[:, None] & columns), GREY)


PHOTOMETRIC: dict[str, type[Photometric]] = {
    "brightness": Brightness,
    "contrast": Contrast,
    "hue": Hue,
    "grey": Grey,
    "pca_colour": PcaColour,
    "gamma": Gamma,
    "white_balance": WhiteBalance,
    "noise": Noise,
    "dct_noise": DctNoise,
    "blur": Blur,
    "sharpen": Sharpen,
    "jpeg": Jpeg,
    "downscale": Downscale,
    "resize": Resize,
    "codec": Codec,
    "grid_mask": GridMask,
}
