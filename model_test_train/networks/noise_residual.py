"""What a pixel differs in from its neighbours, made large: the grain that a manipulation smooths or doubles.

In the picture itself it is so faint beside light and shape that a network trained from scratch is slow to find it.
"""

import torch
from torch import Tensor, nn


def with_noise_residual(pixels: Tensor, gain: float) -> Tensor:
    """The picture (b, 3, h, w), and below it the same in grain (b, 6, h, w); without gain, the picture alone."""
    if not gain:
        return pixels
    around = nn.functional.avg_pool2d(nn.functional.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return torch.cat((pixels, (gain * (pixels - around)).clamp(-3, 3)), 1)


def channels(gain: float) -> int:
    return 6 if gain else 3
