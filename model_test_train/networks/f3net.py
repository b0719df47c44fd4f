"""F3-Net of Qian et al. (ECCV 2020): forgeries leave traces in frequencies that a picture does not show.

Two streams of Xception: one sees the picture taken apart into bands of frequencies, the other how strong each band is around
each place; twice they look at what the other found. Read from the paper; what it leaves open is said where it is decided.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, scaled_dot_product_attention

from model_test_train.networks.pretrained import Pretrained, load_pretrained
from model_test_train.networks.registry import backbone
from model_test_train.networks.timm_features import source

XCEPTION = "legacy_xception"
WINDOW, APART, STATISTICS = 10, 2, 6  # of local frequencies
BANDS = (0, 1 / 16, 1 / 8, 1)  # of the spectrum, low to high


@backbone("f3net")
class F3Net(nn.Module):
    """Both streams' feature maps, one after the other: the frequencies' first."""

    def __init__(self, size: int, pretrained: Pretrained, middle_blocks: int = 8) -> None:
        super().__init__()
        self.decomposed, self.statistics = Decomposition(size), LocalStatistics()
        streams = [stream(c, stride, middle_blocks, pretrained) for c, stride in ((3 * (len(BANDS) - 1), 2), (STATISTICS, 1))]
        self.stems, self.middles, self.ends = (nn.ModuleList(parts) for parts in zip(*streams, strict=True))
        self.mixes = nn.ModuleList((CrossLook(728), CrossLook(1024)))

    def forward(self, pixels: Tensor) -> Tensor:
        side = (pixels.shape[-1] - 1) // 2  # of the first stream after its first layer
        seen = self.decomposed(pixels), self.statistics(pixels)[..., :side, :side]
        first, second = (stem(one) for stem, one in zip(self.stems, seen, strict=True))
        for mix, rests in zip(self.mixes, (self.middles, self.ends), strict=True):
            mixed = mix(first, second)
            first, second = (rest(one) for rest, one in zip(rests, mixed, strict=True))
        return torch.cat((first, second), 1)


def stream(channels: int, stride: int, middle_blocks: int, pretrained: Pretrained) -> list[nn.Module]:
    """Xception in three parts, between which the streams meet: to its seventh block, to its twelfth, and its end."""
    import timm  # takes a second, which other networks need not wait

    net = timm.create_model(XCEPTION, pretrained=False, num_classes=0)
    load_pretrained(net, pretrained, source(XCEPTION, net))
    eye = nn.Conv2d(channels, 32, 3, stride, padding=0 if stride > 1 else 1, bias=False)
    blocks = [net.get_submodule(f"block{number}") for number in (*range(1, 4), *range(4, 4 + middle_blocks), 12)]
    half = 3 + (middle_blocks + 1) // 2
    return [
        nn.Sequential(eye, net.bn1, net.act1, net.conv2, net.bn2, net.act2, *blocks[:half]),
        nn.Sequential(*blocks[half:]),
        nn.Sequential(net.conv3, net.bn3, net.act3, net.conv4, net.bn4, net.act4),
    ]


class Decomposition(nn.Module):
    """The picture in each band by itself, (b, 3 bands, size, size); what a band lets through is learnt around its edges."""

    names = ("low frequencies", "middle frequencies", "high frequencies")
    cosines: Tensor
    edges: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("cosines", cosines(size), persistent=False)
        self.register_buffer("edges", bands(size, BANDS), persistent=False)
        self.shift = nn.Parameter(0.1 * torch.randn(len(BANDS) - 1, size, size))

    def forward(self, pixels: Tensor) -> Tensor:
        spectrum = self.cosines @ pixels @ self.cosines.mT
        passed = spectrum[:, None] * (self.edges + squashed(self.shift))[:, None]
        return (self.cosines.mT @ passed @ self.cosines).flatten(1, 2)


class LocalStatistics(nn.Module):
    """How strong each band is in a window around every second pixel, (b, bands, h, w), as a logarithm."""

    names = tuple(f"around a place, band {number}" for number in range(1, STATISTICS + 1))
    waves: Tensor
    edges: Tensor

    def __init__(self) -> None:
        super().__init__()
        ways = cosines(WINDOW)
        self.register_buffer("waves", torch.einsum("iy,jx->ijyx", ways, ways).flatten(0, 1)[:, None], persistent=False)
        self.register_buffer("edges", bands(WINDOW, np.linspace(0, 1, STATISTICS + 1)).flatten(1), persistent=False)
        self.shift = nn.Parameter(0.1 * torch.randn(STATISTICS, WINDOW * WINDOW))

    def forward(self, pixels: Tensor) -> Tensor:
        grey = pad(pixels.mean(1, keepdim=True), (WINDOW // 2 - 1,) * 4, mode="reflect")
        strengths = conv2d(grey, self.waves, stride=APART).abs()
        passed = (self.edges + squashed(self.shift)).abs()
        return torch.einsum("bfyx,sf->bsyx", strengths, passed).add(1e-6).log10()


class CrossLook(nn.Module):
    """Each place of either stream asks all places of the other what they found, and adds some of the answer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        dim = channels // 8
        self.asks, self.shows = (nn.ModuleList(nn.Conv2d(channels, dim, 1) for _ in range(2)) for _ in range(2))
        self.tells = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.shares = nn.Parameter(torch.full((2,), 0.1))

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        return self._look(0, first, second), self._look(1, second, first)

    def _look(self, number: int, one: Tensor, other: Tensor) -> Tensor:
        asked = ((self.asks[number], one), (self.shows[number], other), (self.tells[number], other))
        q, k, v = (part(features).flatten(2).mT[:, None] for part, features in asked)  # of one head, (b, 1, h w, channels)
        return one + self.shares[number] * scaled_dot_product_attention(q, k, v).mT.reshape(one.shape)


def cosines(size: int) -> Tensor:
    """The orthonormal DCT as a matrix: `cosines @ signal` is its spectrum."""
    from scipy.fft import dct  # takes a while, as timm does

    return torch.from_numpy(dct(np.eye(size), axis=0, norm="ortho")).float()


def bands(size: int, edges: tuple[float, ...] | np.ndarray) -> Tensor:
    """Which frequencies belong to each band (bands, size, size), by their distance from none at all."""
    distance = (np.arange(size)[:, None] + np.arange(size)) / (2 * size - 1)
    ends = zip(edges[:-1], edges[1:], strict=True)
    return torch.from_numpy(np.stack([(distance >= low) & (distance < high) for low, high in ends])).float()


def squashed(shift: Tensor) -> Tensor:
    """-1 to 1, as in the paper."""
    return torch.tanh(shift / 2)
