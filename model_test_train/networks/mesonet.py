"""MesoNet: Meso4 and MesoInception-4 of Afchar et al. (WIFS 2018), shallow networks for mesoscopic texture rather than content.

Layers are not named as in the published Keras files; `mesonet_weights.py` maps those to ours.
"""

import torch
from torch import Tensor, nn

from explain_deepfakes.model_test_train.networks.noise_residual import input_channels, with_noise_residual
from explain_deepfakes.model_test_train.networks.registry import backbone, head

KERAS_EPSILON = 1e-3  # of Keras batch norms


class Meso(nn.Sequential):
    """Four stages of a block, a batch norm and a max pooling each; the last one pools 4 by 4."""

    def __init__(self, blocks: list[nn.Module], widths: list[int], residual_gain: float, epsilon: float) -> None:
        pools = [2] * (len(blocks) - 1) + [4]
        super().__init__(
            *(
                nn.Sequential(block, nn.BatchNorm2d(width, epsilon), nn.MaxPool2d(pool))
                for block, width, pool in zip(blocks, widths, pools, strict=True)
            )
        )
        self.residual_gain = residual_gain

    def forward(self, pixels: Tensor) -> Tensor:
        return super().forward(with_noise_residual(pixels, self.residual_gain))


@backbone("meso4")
def meso4(size: int, residual_gain: float = 0.0, epsilon: float = KERAS_EPSILON) -> nn.Module:
    blocks = [conv_relu(input_channels(residual_gain), 8, 3), conv_relu(8, 8, 5), conv_relu(8, 16, 5), conv_relu(16, 16, 5)]
    return Meso(blocks, [8, 8, 16, 16], residual_gain, epsilon)


@backbone("mesoinception4")
def mesoinception4(size: int, residual_gain: float = 0.0) -> nn.Module:
    inceptions = [Inception(input_channels(residual_gain), (1, 4, 4, 2)), Inception(11, (2, 4, 4, 2))]
    return Meso([*inceptions, conv_relu(12, 16, 5), conv_relu(16, 16, 5)], [11, 12, 16, 16], residual_gain, KERAS_EPSILON)


class Inception(nn.Module):
    """A 1 x 1 convolution and three 3 x 3 convolutions of increasing dilation, concatenated.

    Checkpoints contain the name `looks`.
    """

    def __init__(self, channels: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        pointwise_width, *dilated_widths = widths
        self.looks = nn.ModuleList([conv_relu(channels, pointwise_width, 1)])
        for dilation, width in enumerate(dilated_widths, 1):
            self.looks.append(nn.Sequential(conv_relu(channels, width, 1), conv_relu(width, width, 3, dilation)))

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([branch(features) for branch in self.looks], 1)


def conv_relu(channels: int, width: int, kernel: int, dilation: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, width, kernel, padding="same", dilation=dilation), nn.ReLU())


@head("meso")
class MesoHead(nn.Sequential):
    """Classifier with one small hidden layer of the flattened feature map."""

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
