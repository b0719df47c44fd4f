"""Looks: light, colour, grain and the traces of files. Pictures (g, 3, h, w) uint8 of one group; nothing moves.

A group looks alike: the light that falls on a fake falls on its original too.
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

from model_test_train.training.augmentations.chance import Chance
from model_test_train.training.augmentations.effects import (
    KERNELS,
    blurred,
    brighter,
    coarser,
    compressed,
    contrasted,
    each,
    noisy,
    resampled,
    rounded,
    sharpened,
)
from model_test_train.training.augmentations.video_codecs import Encoding, encoded
from pipeline.errors import UserError
from pipeline.params import setting

GREY = 127


@dataclass(frozen=True)
class Photometric(Chance, ABC):
    @abstractmethod
    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        """The pictures after it."""


@dataclass(frozen=True)
class Brightness(Photometric):
    most: float = setting("by how much of itself", low=0, high=1)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        return brighter(pictures, 1 + self.most * rng.uniform(-1, 1))


@dataclass(frozen=True)
class Contrast(Photometric):
    most: float = setting("by how much of itself, around the picture's mean", low=0, high=1)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        return contrasted(pictures, 1 + self.most * rng.uniform(-1, 1))


@dataclass(frozen=True)
class Hue(Photometric):
    most: float = setting("of the colour circle", low=0, high=0.5)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        return tv.adjust_hue(pictures, self.most * rng.uniform(-1, 1))


@dataclass(frozen=True)
class Grey(Photometric):
    """No colour."""

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        return tv.rgb_to_grayscale(pictures, num_output_channels=3)


@dataclass(frozen=True)
class PcaColour(Photometric):
    """A shift along the directions in which the picture's own colours differ, as in AlexNet's training."""

    most: float = setting("standard deviation, in those of the colours", low=0)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        colours = pictures.double().permute(1, 0, 2, 3).flatten(1)
        values, directions = torch.linalg.eigh(torch.cov(colours))
        steps = torch.from_numpy(rng.normal(0, self.most, 3)) * values.clamp(min=0).sqrt()
        return rounded(pictures + (directions @ steps).view(3, 1, 1))


@dataclass(frozen=True)
class Gamma(Photometric):
    """Darker or lighter in the middle tones; black and white stay."""

    most: float = setting("logarithm of the exponent", low=0)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        return rounded(255 * (pictures / 255) ** np.exp(self.most * rng.uniform(-1, 1)))


@dataclass(frozen=True)
class WhiteBalance(Photometric):
    """Warmer or colder light: a factor for each channel."""

    most: float = setting("logarithm of the factors of red, green and blue", low=0)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        factors = torch.from_numpy(np.exp(self.most * rng.uniform(-1, 1, 3)))
        return rounded(pictures * (factors / factors.mean()).float().view(3, 1, 1))


@dataclass(frozen=True)
class Noise(Photometric):
    """A sensor's."""

    most: float = setting("standard deviation, grey levels", low=0)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        return noisy(pictures, self.most * rng.random(), rng)


@dataclass(frozen=True)
class DctNoise(Photometric):
    """In the frequency domain: every frequency but the mean gets stronger or weaker by itself."""

    most: float = setting("standard deviation, relative", low=0)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        frequencies = dctn(pictures.numpy().astype(np.float32), axes=(2, 3), norm="ortho")
        factors = 1 + self.most * rng.random() * rng.standard_normal(frequencies.shape[2:], np.float32)
        factors[0, 0] = 1
        return rounded(torch.from_numpy(idctn(frequencies * factors, axes=(2, 3), norm="ortho")))


@dataclass(frozen=True)
class Blur(Photometric):
    most: float = setting("standard deviation, px", low=0)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        return blurred(pictures, max(0.05, self.most * rng.random()))


@dataclass(frozen=True)
class Sharpen(Photometric):
    """Unsharp masking, as cameras and editors do it."""

    most: float = setting("of what a small blur takes away, how much is added", low=0)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        amount, deviation = self.most * rng.random(), rng.uniform(0.5, 2)
        return each(pictures, lambda picture: sharpened(picture, amount, deviation))


@dataclass(frozen=True)
class Jpeg(Photometric):
    """Compressed once more."""

    least: int = setting("quality; at most it is 95", low=1, high=95)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        return compressed(pictures, int(rng.integers(self.least, 96)))


@dataclass(frozen=True)
class Downscale(Photometric):
    """Made smaller, and larger again: what a low resolution loses."""

    least: float = setting("of the sides", low=0.05, high=1)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        return coarser(pictures, rng.uniform(self.least, 1))


@dataclass(frozen=True)
class Resize(Photometric):
    """Made smaller or larger, and back, each way by any of several kernels: what others' tools do when they align faces."""

    least: float = setting("of the sides; at most it is 1 / least", low=0.05, high=1)

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        share, (there, back) = self.least ** rng.uniform(-1, 1), rng.choice(KERNELS, 2).tolist()
        return each(pictures, lambda picture: resampled(picture, share, there, back))


@dataclass(frozen=True)
class Codec(Photometric):
    """Encoded as video, by H.264, HEVC, MPEG-4 or MPEG-1: all pictures of a group with the same settings, each by itself."""

    best: int = setting("crf of H.264, or what is about as good in the other codecs", low=0, high=51)
    worst: int = setting("crf at most; see best", low=0, high=51)
    least: float = setting("of the sides, at which half of the pictures are encoded", low=0.1, high=1)
    twice: float = setting("probability of a second encoding after the first", low=0, high=1)

    def __post_init__(self) -> None:
        if self.best > self.worst:
            raise UserError(f"augmentation.codec.best is {self.best}; it must not be above worst, {self.worst}")

    def apply(self, pictures: Tensor, rng: Generator) -> Tensor:
        times = 1 + (rng.random() < self.twice)
        encodings = [Encoding.draw(rng, self.best, self.worst, self.least) for _ in range(times)]
        return each(pictures, lambda picture: reduce(encoded, encodings, picture))


@dataclass(frozen=True)
class GridMask(Photometric):
    """Squares of a grid are grey: the network cannot rely on one place."""

    share: float = setting("of the picture that is hidden", low=0, high=0.9)

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
