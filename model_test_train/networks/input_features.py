"""What a backbone sees beside the colours of the pixels, or in place of them: noise residual, phase, frequency bands."""

from typing import cast

import torch
from torch import Tensor, nn

from explain_deepfakes.model_test_train.networks.noise_residual import input_channels, with_noise_residual
from explain_deepfakes.model_test_train.networks.spectrum import FourBands
from explain_deepfakes.pipeline.errors import UserError


class InputFeatures(nn.Module):
    """Pixels (b, 3, size, size) -> features (b, channels, size, size)."""

    channels: int


class NoiseResidual(InputFeatures):
    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain, self.channels = gain, input_channels(gain)

    def forward(self, pixels: Tensor) -> Tensor:
        return with_noise_residual(pixels, self.gain)


class Phase(InputFeatures):
    """Appends the picture that has the phases of the grey picture's spectrum and constant amplitudes (SPSL, CVPR 2021)."""

    channels = 4

    def __init__(self, size: int) -> None:
        super().__init__()

    def forward(self, pixels: Tensor) -> Tensor:
        phases = torch.fft.fft2(pixels.float().mean(1, keepdim=True)).angle()
        return torch.cat((pixels, torch.fft.ifft2(torch.polar(torch.ones_like(phases), phases)).real), 1)


class FrequencyBands(InputFeatures):
    """Replaces the picture by its low, middle, high and all frequencies, each through a filter with a learnt component."""

    channels = 12

    def __init__(self, size: int) -> None:
        super().__init__()
        self.bands = FourBands(size)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.bands(pixels)


INPUT_FEATURES = {"phase": Phase, "frequency_bands": FrequencyBands}


def build_input_features(name: str | None, size: int, residual_gain: float) -> InputFeatures | None:
    """None: the backbone sees the pixels themselves."""
    if name is None:
        return NoiseResidual(residual_gain) if residual_gain else None
    if name not in INPUT_FEATURES:
        raise UserError(f"backbone.input_features is '{name}'; choose one of: {', '.join(INPUT_FEATURES)}")
    return cast(type[Phase | FrequencyBands], INPUT_FEATURES[name])(size)
