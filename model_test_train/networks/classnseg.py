"""ClassNSeg (Nguyen et al., BTAS 2019): half of the features are active for fakes, half for real faces.

From the active half, a decoder segments the manipulated pixels.
"""

import torch
from torch import Tensor, nn

from explain_deepfakes.model_test_train.networks.registry import backbone, head

ENCODER_WIDTHS = (8, 8, 16, 16, 32, 32, 64, 64, 128)
SHARED_WIDTHS, SEGMENTER_WIDTHS = (64, 64, 32, 32), (16, 16, 8, 8)  # the authors reconstruct the picture from the shared layers


@backbone("classnseg")
class Encoder(nn.Sequential):
    """Nine convolutions to stride 16; every second one halves the feature map."""

    def __init__(self, size: int) -> None:
        layers: list[nn.Module] = []
        for number, (channels, width) in enumerate(zip((3, *ENCODER_WIDTHS), ENCODER_WIDTHS, strict=False)):
            stride = 2 if number % 2 else 1
            layers += [nn.Conv2d(channels, width, 3, stride, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        super().__init__(*layers)


@head("halves")
class HalvesHead(nn.Module):
    """The logit is the mean activation of the first half of the channels, minus that of the second."""

    def __init__(self, channels: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.shared = _decoder(channels, SHARED_WIDTHS)
        to_classes = nn.ConvTranspose2d(SEGMENTER_WIDTHS[-1], 2, 3, padding=1)  # 0: not manipulated, 1: manipulated
        self.segmenter = nn.Sequential(*_decoder(SHARED_WIDTHS[-1], SEGMENTER_WIDTHS), to_classes)

    def forward(self, features: Tensor) -> Tensor:
        of_fake, of_real = (half.abs().mean((1, 2, 3)) for half in features.chunk(2, 1))
        return of_fake - of_real

    def segment(self, features: Tensor) -> Tensor:
        """The probability that each pixel is manipulated (b, size, size)."""
        is_fake = (self(features) > 0).view(-1, 1, 1, 1)
        fake_half, real_half = features.chunk(2, 1)
        active = torch.cat((fake_half * is_fake, real_half * ~is_fake), 1)
        probabilities: Tensor = self.segmenter(self.shared(active)).softmax(1)[:, 1]
        return probabilities


def _decoder(channels: int, widths: tuple[int, ...]) -> nn.Sequential:
    """Transposed convolutions, of which every second one doubles the feature map."""
    layers: list[nn.Module] = []
    for number, (before, width) in enumerate(zip((channels, *widths), widths, strict=False)):
        doubles = number % 2
        upsampling = nn.ConvTranspose2d(before, width, 3, stride=1 + doubles, padding=1, output_padding=doubles)
        layers += [upsampling, nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers)
