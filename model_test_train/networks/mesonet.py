"""MesoNet: Meso4 and MesoInception-4 of Afchar et al. (WIFS 2018), shallow networks that look at grain rather than at content.

The names of their parts are not those of the published Keras files; import_checkpoint puts these in order.
"""

import torch
from torch import Tensor, nn

from model_test_train.networks.noise_residual import channels, with_noise_residual
from model_test_train.networks.registry import backbone, head

KERAS_EPSILON = 1e-3  # of its batch norms


class Meso(nn.Sequential):
    """Four steps, each of a block, a batch norm and a pooling; the last pools four by four."""

    def __init__(self, blocks: list[nn.Module], widths: list[int], residual_gain: float) -> None:
        pools = [2] * (len(blocks) - 1) + [4]
        super().__init__(
            *(
                nn.Sequential(block, nn.BatchNorm2d(width, KERAS_EPSILON), nn.MaxPool2d(pool))
                for block, width, pool in zip(blocks, widths, pools, strict=True)
            )
        )
        self.residual_gain = residual_gain

    def forward(self, pixels: Tensor) -> Tensor:
        return super().forward(with_noise_residual(pixels, self.residual_gain))


@backbone("meso4")
def meso4(size: int, residual_gain: float = 0.0) -> nn.Module:
    blocks = [seen(channels(residual_gain), 8, 3), seen(8, 8, 5), seen(8, 16, 5), seen(16, 16, 5)]
    return Meso(blocks, [8, 8, 16, 16], residual_gain)


@backbone("mesoinception4")
def mesoinception4(size: int, residual_gain: float = 0.0) -> nn.Module:
    looks = [Inception(channels(residual_gain), (1, 4, 4, 2)), Inception(11, (2, 4, 4, 2))]
    return Meso([*looks, seen(12, 16, 5), seen(16, 16, 5)], [11, 12, 16, 16], residual_gain)


class Inception(nn.Module):
    """A look at each pixel, and three at its neighbours, which stand further apart from one to the next."""

    def __init__(self, channels: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        alone, *others = widths
        self.looks = nn.ModuleList([seen(channels, alone, 1)])
        for apart, width in enumerate(others, 1):
            self.looks.append(nn.Sequential(seen(channels, width, 1), seen(width, width, 3, apart)))

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([look(features) for look in self.looks], 1)


def seen(channels: int, width: int, kernel: int, apart: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, width, kernel, padding="same", dilation=apart), nn.ReLU())


@head("meso")
class MesoDetector(nn.Sequential):
    """All places of the feature map, one after the other, into a small layer and the verdict."""

    def __init__(self, channels: int, grid: tuple[int, int], dim: int, dropout: float) -> None:
        super().__init__(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(channels * grid[0] * grid[1], dim),
            nn.LeakyReLU(0.1),
            nn.Dropout(dropout),
            nn.Linear(dim, 1),
            nn.Flatten(0),
        )
