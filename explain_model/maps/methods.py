"""Map methods: network and prepared pixels -> evidence for fake and for real at each position, by one of several methods.

The maps of all methods are non-negative and have a scale of their own; heatmaps.py converts them to a common scale.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from explain_deepfakes.explain_model.maps.relevancy import (
    CLASS_TOKEN_FIRST,
    attention_weights,
    frozen_weights,
    record_outputs,
    token_relevancy,
)
from explain_deepfakes.model_test_train.networks.heads import ChannelTransformer
from explain_deepfakes.model_test_train.networks.network import Network
from explain_deepfakes.model_test_train.networks.transformer import TokenReadout
from explain_deepfakes.pipeline.errors import UserError

ClassMaps = tuple[Tensor, Tensor]  # for fake and for real, (b, h, w) each


class SegmentingHead(Protocol):
    """A head that also segments the manipulated pixels."""

    def segment(self, features: Tensor) -> Tensor: ...


class TokenBackbone(Protocol):
    """A backbone that is a transformer."""

    tokens: TokenReadout
    token_grid: tuple[int, int]


@dataclass(frozen=True)
class AttentionSource:
    """The module whose attention explains the logit, and its inputs."""

    module: nn.Module
    inputs: Tensor  # pixels of the network, or features of its head
    tokens: TokenReadout
    grid: tuple[int, int]  # (h, w) of the patch tokens, or of the maps that channel tokens are mixtures of
    to_tokens: nn.Module | None  # computes tokens that are mixtures of channels; None for patch tokens

    @classmethod
    def find(cls, network: Network, pixels: Tensor) -> "AttentionSource":
        """The head, if it has attention; otherwise the backbone, whose last tokens the head classifies."""
        if hasattr(network.head, "transformer"):
            with torch.no_grad():
                features = network.backbone(pixels)  # (b, channels, h, w)
            to_tokens = None if hasattr(network.head, "patch_grid") else _to_tokens(network)
            return cls(network.head, features, CLASS_TOKEN_FIRST, network.grid, to_tokens)
        backbone = cast(TokenBackbone, network.backbone)
        return cls(network, pixels, backbone.tokens, backbone.token_grid, None)

    def to_map(self, row: Tensor) -> Tensor:
        """A value per position (b, h w) -> (b, h, w)."""
        return row.unflatten(-1, self.grid)


def relevancy(network: Network, pixels: Tensor) -> ClassMaps:
    """Relevancy of patch tokens; for tokens that are channel mixtures, their evidence per position, weighted by relevancy."""
    source = AttentionSource.find(network, pixels)
    result = token_relevancy(source.module, source.inputs, source.to_tokens, source.tokens)
    rows = [result.for_fake, result.for_real]  # (b, n) each
    if result.evidence is not None:
        rows = [(row[:, :, None] * result.evidence).sum(1) for row in rows]  # (b, n, 1) * (b, n, h w) -> (b, h w)
    return source.to_map(rows[0]), source.to_map(rows[1])


def raw_attention(network: Network, pixels: Tensor) -> ClassMaps:
    """The last block's attention from the readout tokens; the same map for both classes."""
    source = AttentionSource.find(network, pixels)
    last = attention_weights(source.module, source.inputs)[-1]  # (b, m, n)
    return _to_class_maps(source, source.tokens.readout_weights(last.shape[-1])[:, : last.shape[1]] @ last)


def rollout(network: Network, pixels: Tensor) -> ClassMaps:
    """Attention multiplied through all blocks, with residuals (Abnar and Zuidema 2020); the same map for both classes."""
    source = AttentionSource.find(network, pixels)
    *others, last = attention_weights(source.module, source.inputs)
    last = last if source.tokens.is_pooled else _add_residual(last)
    row = source.tokens.readout_weights(last.shape[-1])[:, : last.shape[1]] @ last  # (b, 1, n)
    for weights in reversed(others):
        row = row @ _add_residual(weights)
    return _to_class_maps(source, row)


def cam(kind: str, network: Network, pixels: Tensor) -> ClassMaps:
    """A CAM method of the grad-cam package, applied to the backbone's feature map."""
    import pytorch_grad_cam  # takes seconds to import

    with frozen_weights(network), getattr(pytorch_grad_cam, kind)(network, [network.backbone]) as compute_cam:
        pixels = pixels.detach().clone().requires_grad_()
        for_fake, for_real = (
            torch.from_numpy(compute_cam(pixels, [lambda logit, sign=sign: sign * logit] * len(pixels))) for sign in (1, -1)
        )
    return for_fake, for_real


def input_gradient(network: Network, pixels: Tensor) -> ClassMaps:
    """Absolute gradient of the logit for each pixel (Simonyan et al. 2014); the same map for both classes."""
    with frozen_weights(network), torch.enable_grad():
        pixels = pixels.detach().clone().requires_grad_()
        gradient = torch.autograd.grad(network(pixels).sum(), pixels)[0].abs().sum(1)  # (b, size, size)
    return gradient, gradient


def segmentation(network: Network, pixels: Tensor) -> ClassMaps:
    """The probability that each pixel is manipulated, and that it is not, by a network that was trained on masks."""
    with torch.no_grad():
        manipulated = cast(SegmentingHead, network.head).segment(network.backbone(pixels))
    return manipulated, 1 - manipulated


def token_evidence(network: Network, pixels: Tensor) -> ClassMaps:
    """The evidence of all mixture tokens, not weighted by relevancy: the baseline for `relevancy` of such tokens."""
    source = AttentionSource.find(network, pixels)
    evidence = token_relevancy(source.module, source.inputs, source.to_tokens).evidence
    assert evidence is not None
    class_map = source.to_map(evidence.sum(1))
    return class_map, class_map


def published_map(network: Network, pixels: Tensor) -> ClassMaps:
    """The tokens' relevancy, row by row in a square, as published. The tokens have no position, so neither has this map."""
    source = AttentionSource.find(network, pixels)
    result = token_relevancy(source.module, source.inputs)
    count = result.for_fake.shape[1]
    if round(count**0.5) ** 2 != count:
        raise UserError(f"--method published arranges the tokens in a square, but this network has {count} tokens")
    return _to_square(result.for_fake), _to_square(result.for_real)


@dataclass(frozen=True)
class MapMethod:
    compute: Callable[[Network, Tensor], ClassMaps]
    description: str
    supports: Callable[[Network], bool]
    is_class_specific: bool  # whether the maps for fake and for real differ; otherwise there is no evidence against a label


def _any_network(network: Network) -> bool:
    return True


def _has_attention(network: Network) -> bool:
    return hasattr(network.head, "transformer") or getattr(network.backbone, "tokens", None) is not None


def _has_feature_map(network: Network) -> bool:
    return network.grid != (1, 1)


def _has_channel_tokens(network: Network) -> bool:
    return isinstance(network.head, ChannelTransformer)


def _segments(network: Network) -> bool:
    return hasattr(network.head, "segment")


def best_map(network: Network, pixels: Tensor) -> ClassMaps:
    return METHODS[resolve_method_name(network, DEFAULT)].compute(network, pixels)


BEST = ("relevancy", "segmentation", "hires_cam")  # the first that supports the network; HiRes-CAM keeps positions apart
DEFAULT = "best"
METHODS = {
    DEFAULT: MapMethod(
        best_map,
        "relevancy of the attention; without attention the network's segmentation, or HiRes-CAM",
        _any_network,
        is_class_specific=True,
    ),
    "relevancy": MapMethod(relevancy, "relevancy of the attention", _has_attention, is_class_specific=True),
    "raw_attention": MapMethod(raw_attention, "attention of the last block", _has_attention, is_class_specific=False),
    "rollout": MapMethod(rollout, "attention rollout through all blocks", _has_attention, is_class_specific=False),
    "segmentation": MapMethod(segmentation, "the network's own segmentation", _segments, is_class_specific=True),
    "grad_cam": MapMethod(partial(cam, "GradCAM"), "Grad-CAM on the backbone", _has_feature_map, is_class_specific=True),
    "hires_cam": MapMethod(partial(cam, "HiResCAM"), "HiRes-CAM on the backbone", _has_feature_map, is_class_specific=True),
    "layer_cam": MapMethod(partial(cam, "LayerCAM"), "Layer-CAM on the backbone", _has_feature_map, is_class_specific=True),
    "input_gradient": MapMethod(input_gradient, "gradient of the logit per pixel", _any_network, is_class_specific=False),
    "token_evidence": MapMethod(
        token_evidence, "evidence of the tokens, without relevancy", _has_channel_tokens, is_class_specific=False
    ),
    "published": MapMethod(
        published_map, "the published map, which shows no positions", _has_channel_tokens, is_class_specific=True
    ),
}


def resolve_method_name(network: Network, name: str) -> str:
    """The name of the method; for `best`, the name of the method that it stands for with this network."""
    if name != DEFAULT:
        return name
    return next((best for best in BEST if METHODS[best].supports(network)), BEST[-1])


def get_map_method(network: Network, name: str) -> MapMethod:
    """The method of that name, if the network supports it."""
    method = METHODS[resolve_method_name(network, name)]
    if not method.supports(network):
        supported = ", ".join(name for name, candidate in METHODS.items() if candidate.supports(network))
        raise UserError(f"--method {name}: {type(network.head).__name__} does not support this method; there are: {supported}")
    return method


def _to_tokens(network: Network) -> nn.Module:
    """The module that computes the published head's tokens, each of which is the map of a mixture of channels."""
    return network.head.get_submodule("patch_to_embedding")


def _to_class_maps(source: AttentionSource, row: Tensor) -> ClassMaps:
    """The weight of each token (b, 1, n) -> the weight of each position (b, h, w), for both classes."""
    weights = row[:, 0, source.tokens.prefix :]  # (b, n)
    if source.to_tokens is not None:
        with torch.no_grad(), record_outputs(source.to_tokens) as outputs:
            source.module(source.inputs)
        weights = (weights[:, :, None] * outputs[0].detach().abs()).sum(1)  # (b, n, 1) * (b, n, h w) -> (b, h w)
    class_map = source.to_map(weights)
    return class_map, class_map


def _to_square(row: Tensor) -> Tensor:
    """(b, side side) -> (b, side, side)."""
    side = round(row.shape[-1] ** 0.5)
    return row.unflatten(-1, (side, side))


def _add_residual(weights: Tensor) -> Tensor:
    """The mean of the attention of the first tokens (b, m, n) and the identity."""
    query_count, count = weights.shape[-2:]
    return (weights + torch.eye(count, device=weights.device)[:query_count]) / 2
