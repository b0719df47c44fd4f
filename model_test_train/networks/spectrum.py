"""A picture's frequencies by the discrete cosine transform, and filters for bands of them."""

import numpy as np
import torch
from torch import Tensor, nn

FOUR_BANDS = (0, 1 / 2.82), (1 / 2.82, 1 / 2), (1 / 2, 2), (0, 2)  # of row plus column, as fractions of the size


def dct_matrix(size: int) -> Tensor:
    """The orthonormal DCT as a matrix: `cosines @ signal` is its spectrum."""
    from scipy.fft import dct  # slow to import, as timm

    return torch.from_numpy(dct(np.eye(size), axis=0, norm="ortho")).float()


def squash(shift: Tensor) -> Tensor:
    """Map to the range -1 to 1, as in the paper of F3-Net."""
    return torch.tanh(shift / 2)


def filter_bands(pixels: Tensor, cosines: Tensor, filters: Tensor) -> Tensor:
    """The picture filtered to each band (b, c, size, size), (bands, size, size) -> (b, bands c, size, size)."""
    passed = (cosines @ pixels @ cosines.mT)[:, None] * filters[:, None]
    return (cosines.mT @ passed @ cosines).flatten(1, 2)


class FourBands(nn.Module):
    """The frequency-aware decomposition of DeepfakeBench's F3-Net; its bands differ from the paper's."""

    cosines: Tensor
    masks: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        total = torch.arange(size)[:, None] + torch.arange(size)
        ends = [(size * low // 1, size * high // 1) for low, high in FOUR_BANDS]
        masks = torch.stack([(low <= total) & (total <= high) for low, high in ends]).float()
        self.register_buffer("cosines", dct_matrix(size), persistent=False)
        self.register_buffer("masks", masks, persistent=False)
        self.shifts = nn.ParameterList(0.1 * torch.randn(size, size) for _ in FOUR_BANDS)

    def forward(self, pixels: Tensor) -> Tensor:
        return filter_bands(pixels, self.cosines, self.masks + squash(torch.stack(list(self.shifts))))
