"""Noise residual: the amplified difference of a pixel from its neighbours, which manipulations smooth or duplicate.

The residual is so faint in the picture itself that a network trained from scratch is slow to pick it up.
"""

import torch
from torch import Tensor, nn


def with_noise_residual(pixels: Tensor, gain: float) -> Tensor:
    """Append the noise residual to the pixels (b, 3, h, w) -> (b, 6, h, w); with a gain of 0, return the pixels unchanged."""
    if not gain:
        return pixels
    local_mean = nn.functional.avg_pool2d(nn.functional.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return torch.cat((pixels, (gain * (pixels - local_mean)).clamp(-3, 3)), 1)


def input_channels(gain: float) -> int:
    return 6 if gain else 3
