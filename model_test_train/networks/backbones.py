"""Backbones: prepared pixels (b, 3, size, size) -> a feature map (b, channels, size / stride, size / stride).

A YAML names one of `BACKBONES`, or `timm/<any timm network>`.
"""

from contextlib import nullcontext
from pathlib import Path

import timm
import torch
from efficientnet_pytorch import EfficientNet
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.errors import UserError


class Backbone(nn.Module):
    """What every backbone tells of its feature map."""

    channels: int
    stride: int


class PublishedEfficientNet(Backbone):
    """EfficientNet as the published checkpoints name its weights; only the last blocks, and what follows, learn.

    What is frozen has no gradients and keeps its statistics. The published training freezes the same blocks, but lets the
    layer before them learn, and so has to go through all of them backwards.
    """

    def __init__(self, variant: str, trainable_blocks: int, pretrained: bool | str) -> None:
        super().__init__()
        self.efficient_net = EfficientNet.from_name(f"efficientnet-{variant}")
        load_pretrained(self.efficient_net, pretrained, f"efficientnet-{variant} of efficientnet-pytorch")
        self.first_to_learn = len(self.efficient_net._blocks) - trainable_blocks
        for part in self.frozen():
            part.requires_grad_(False)
        self.efficient_net._fc.requires_grad_(False)  # unused, but published checkpoints hold its weights
        self.channels = self.efficient_net._conv_head.out_channels
        self.stride = 32

    def frozen(self) -> list[nn.Module]:
        net = self.efficient_net
        return [net._conv_stem, net._bn0, *net._blocks[: self.first_to_learn]]

    def train(self, mode: bool = True) -> "PublishedEfficientNet":
        super().train(mode)
        for part in self.frozen():
            part.eval()
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        net, count = self.efficient_net, len(self.efficient_net._blocks)
        with torch.no_grad() if self.training else nullcontext():
            features = net._swish(net._bn0(net._conv_stem(pixels)))
            for block in net._blocks[: self.first_to_learn]:
                features = block(features)
        for number, block in enumerate(net._blocks[self.first_to_learn :], self.first_to_learn):
            features = block(features, drop_connect_rate=net._global_params.drop_connect_rate * number / count)
        return net._swish(net._bn1(net._conv_head(features)))


class TimmFeatures(Backbone):
    """The first stages of a timm network, down to the last feature map of the wanted stride; what follows is cut off."""

    def __init__(self, model: str, stride: int, pretrained: bool | str, residual_gain: float = 0.0, **options: object) -> None:
        super().__init__()
        self.residual_gain = residual_gain
        if residual_gain:
            options["in_chans"] = 6
        if model not in timm.list_models():
            raise UserError(f"backbone 'timm/{model}' is not among timm {timm.__version__}'s networks")
        self.net = timm.create_model(model, pretrained=False, num_classes=0, **options)
        load_pretrained(self.net, pretrained, f"{model} of timm")
        strides = [info["reduction"] for info in self.net.feature_info]
        if stride not in strides:
            raise UserError(f"backbone 'timm/{model}' has no feature map at stride {stride}; it has: {strides}")
        self.level = len(strides) - 1 - strides[::-1].index(stride)
        self.net.prune_intermediate_layers([self.level], prune_norm=True, prune_head=True)
        self.channels = self.net.feature_info[self.level]["num_chs"]
        self.stride = stride

    def forward(self, pixels: Tensor) -> Tensor:
        if self.residual_gain:
            pixels = torch.cat((pixels, residual(pixels, self.residual_gain)), 1)
        return self.net.forward_intermediates(
            pixels, indices=[self.level], stop_early=True, intermediates_only=True, output_fmt="NCHW"
        )[0]


def residual(pixels: Tensor, gain: float) -> Tensor:
    """What a pixel differs in from its neighbours, made large: the grain that a manipulation smooths or doubles.

    In the picture itself it is so faint beside light and shape that a network trained from scratch is slow to find it.
    """
    around = nn.functional.avg_pool2d(nn.functional.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return (gain * (pixels - around)).clamp(-3, 3)


def published_b0(**options: object) -> Backbone:
    return PublishedEfficientNet("b0", **options)  # type: ignore[arg-type]


def published_b7(**options: object) -> Backbone:
    return PublishedEfficientNet("b7", **options)  # type: ignore[arg-type]


BACKBONES = {"efficientnet-b0": published_b0, "efficientnet-b7": published_b7}


def build_backbone(name: str, **options: object) -> Backbone:
    """The backbone of that name; its options are the further lines of the YAML's `backbone`."""
    if name.startswith("timm/"):
        return TimmFeatures(name.removeprefix("timm/"), **options)  # type: ignore[arg-type]
    if name not in BACKBONES:
        raise UserError(f"backbone '{name}' is unknown; there are: {', '.join(BACKBONES)}, timm/<name>")
    return BACKBONES[name](**options)


def load_pretrained(network: nn.Module, pretrained: bool | str, source: str) -> None:
    """Weights trained on other pictures, from a file: hubs are not asked, so that a run never depends on the network."""
    if pretrained is False:
        return
    if pretrained is True:
        raise UserError(
            f"backbone.pretrained is true: download the weights of {source} and name the file there, or say 'pretrained: false'"
        )
    path = Path(pretrained)
    if not path.is_file():
        raise UserError(f"backbone.pretrained: {path} is not there; put the weights of {source} there, or say 'false'")
    weights = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    try:
        missing = network.load_state_dict(weights, strict=False).missing_keys
    except RuntimeError as error:  # shapes differ
        raise UserError(f"backbone.pretrained: {path} does not fit {source}: {str(error).splitlines()[-1].strip()}") from error
    if missing:
        raise UserError(f"backbone.pretrained: {path} lacks {len(missing)} weights of {source}, first {missing[0]}")
