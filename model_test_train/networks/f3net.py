"""F3-Net of Qian et al. (ECCV 2020): detects traces of forgery in the frequency domain.

Two Xception streams: one gets the picture decomposed into frequency bands, the other local statistics of the strength of each
band. The streams exchange features by cross-attention twice. Written from the paper.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, scaled_dot_product_attention

from explain_deepfakes.model_test_train.networks.pretrained import Pretrained, load_pretrained
from explain_deepfakes.model_test_train.networks.registry import backbone
from explain_deepfakes.model_test_train.networks.spectrum import dct_matrix, filter_bands, squash
from explain_deepfakes.model_test_train.networks.timm_features import source

XCEPTION = "legacy_xception"
WINDOW, WINDOW_STRIDE, STATISTICS = 10, 2, 6  # local frequencies: window and stride in px, and number of bands
BANDS = (0, 1 / 16, 1 / 8, 1)  # edges of the bands of the spectrum, low to high


@backbone("f3net")
class F3Net(nn.Module):
    """The feature maps of both streams concatenated, the decomposed picture's first."""

    def __init__(self, size: int, pretrained: Pretrained, middle_blocks: int = 8) -> None:
        super().__init__()
        self.decomposed, self.statistics = FrequencyDecomposition(size), LocalStatistics()
        inputs = ((3 * (len(BANDS) - 1), 2), (STATISTICS, 1))  # channels and stride of each stream
        streams = [xception_stream(channels, stride, middle_blocks, pretrained) for channels, stride in inputs]
        self.stems, self.middles, self.ends = (nn.ModuleList(modules) for modules in zip(*streams, strict=True))
        self.mixes = nn.ModuleList((CrossAttention(728), CrossAttention(1024)))

    def forward(self, pixels: Tensor) -> Tensor:
        side = (pixels.shape[-1] - 1) // 2  # of the first stream's maps after its first layer
        inputs = self.decomposed(pixels), self.statistics(pixels)[..., :side, :side]
        first, second = (stem(x) for stem, x in zip(self.stems, inputs, strict=True))
        for mix, stages in zip(self.mixes, (self.middles, self.ends), strict=True):
            mixed = mix(first, second)
            first, second = (stage(x) for stage, x in zip(stages, mixed, strict=True))
        return torch.cat((first, second), 1)


def xception_stream(channels: int, stride: int, middle_blocks: int, pretrained: Pretrained) -> list[nn.Module]:
    """Xception in three stages, up to its seventh block, its twelfth and its end; features are exchanged between stages."""
    import timm  # takes a second to import, so other networks do not wait for it

    net = timm.create_model(XCEPTION, pretrained=False, num_classes=0)
    load_pretrained(net, pretrained, source(XCEPTION, net))
    first_conv = nn.Conv2d(channels, 32, 3, stride, padding=0 if stride > 1 else 1, bias=False)
    blocks = [net.get_submodule(f"block{number}") for number in (*range(1, 4), *range(4, 4 + middle_blocks), 12)]
    half = 3 + (middle_blocks + 1) // 2
    return [
        nn.Sequential(first_conv, net.bn1, net.act1, net.conv2, net.bn2, net.act2, *blocks[:half]),
        nn.Sequential(*blocks[half:]),
        nn.Sequential(net.conv3, net.bn3, net.act3, net.conv4, net.bn4, net.act4),
    ]


class FrequencyDecomposition(nn.Module):
    """The picture filtered to each band (b, 3 bands, size, size); each band's filter has a learnt component."""

    names = ("low frequencies", "middle frequencies", "high frequencies")
    cosines: Tensor
    edges: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("cosines", dct_matrix(size), persistent=False)
        self.register_buffer("edges", band_masks(size, BANDS), persistent=False)
        self.shift = nn.Parameter(0.1 * torch.randn(len(BANDS) - 1, size, size))

    def forward(self, pixels: Tensor) -> Tensor:
        return filter_bands(pixels, self.cosines, self.edges + squash(self.shift))


class LocalStatistics(nn.Module):
    """Log strength of each band in a window around every second pixel (b, bands, h, w)."""

    names = tuple(f"around a place, band {number}" for number in range(1, STATISTICS + 1))
    waves: Tensor
    edges: Tensor

    def __init__(self) -> None:
        super().__init__()
        waves = dct_matrix(WINDOW)
        self.register_buffer("waves", torch.einsum("iy,jx->ijyx", waves, waves).flatten(0, 1)[:, None], persistent=False)
        self.register_buffer("edges", band_masks(WINDOW, np.linspace(0, 1, STATISTICS + 1)).flatten(1), persistent=False)
        self.shift = nn.Parameter(0.1 * torch.randn(STATISTICS, WINDOW * WINDOW))

    def forward(self, pixels: Tensor) -> Tensor:
        grey = pad(pixels.mean(1, keepdim=True), (WINDOW // 2 - 1,) * 4, mode="reflect")
        strengths = conv2d(grey, self.waves, stride=WINDOW_STRIDE).abs()
        passed = (self.edges + squash(self.shift)).abs()
        return torch.einsum("bfyx,sf->bsyx", strengths, passed).add(1e-6).log10()


class CrossAttention(nn.Module):
    """Each patch of either stream attends to all patches of the other stream and adds a learnt share of the result."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        dim = channels // 8
        self.queries, self.keys = (nn.ModuleList(nn.Conv2d(channels, dim, 1) for _ in range(2)) for _ in range(2))
        self.values = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.shares = nn.Parameter(torch.full((2,), 0.1))

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        return self._attend(0, first, second), self._attend(1, second, first)

    def _attend(self, stream: int, target: Tensor, source: Tensor) -> Tensor:
        projections = ((self.queries[stream], target), (self.keys[stream], source), (self.values[stream], source))
        q, k, v = (project(features).flatten(2).mT[:, None] for project, features in projections)  # (b, 1, h w, channels)
        return target + self.shares[stream] * scaled_dot_product_attention(q, k, v).mT.reshape(target.shape)


def band_masks(size: int, edges: tuple[float, ...] | np.ndarray) -> Tensor:
    """Which frequencies belong to each band (bands, size, size), by their distance from frequency zero."""
    distance = (np.arange(size)[:, None] + np.arange(size)) / (2 * size - 1)
    ends = zip(edges[:-1], edges[1:], strict=True)
    return torch.from_numpy(np.stack([(distance >= low) & (distance < high) for low, high in ends])).float()
