"""Maps: a network and prepared pixels -> the evidence for fake and for real at each place, by one of several methods.

The maps of all methods are at least 0 and have a scale of their own; heatmaps.py gives them a common one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from explain_model.maps.relevancy import CLASS_TOKEN_FIRST, attention_weights, frozen, outputs_of, token_relevancy
from model_test_train.networks.heads import ChannelTransformer
from model_test_train.networks.network import Network
from model_test_train.networks.transformer import Tokens
from pipeline.errors import UserError

Maps = tuple[Tensor, Tensor]  # for fake and for real, (b, h, w) each


@dataclass(frozen=True)
class Attentive:
    """The part of a network whose attention shows where it looked, and what that part is given."""

    part: nn.Module
    inputs: Tensor
    tokens: Tokens
    grid: tuple[int, int]  # of its tokens, or of the maps that they are mixtures of
    to_tokens: nn.Module | None  # what makes tokens that are mixtures

    @staticmethod
    def of(network: Network, pixels: Tensor) -> "Attentive":
        """The detector, if it has attention; else the backbone, of which the detector judges the last tokens."""
        if hasattr(network.head, "transformer"):
            with torch.no_grad():
                features = network.backbone(pixels)
            to_tokens = None if hasattr(network.head, "places") else _to_tokens(network)
            return Attentive(network.head, features, CLASS_TOKEN_FIRST, network.grid, to_tokens)
        backbone: Any = network.backbone
        return Attentive(network, pixels, backbone.tokens, backbone.token_grid, None)

    def maps(self, row: Tensor) -> Tensor:
        """What each token (b, n) owes or is owed, by place (b, h, w)."""
        return row.unflatten(-1, self.grid)


def relevancy(network: Network, pixels: Tensor) -> Maps:
    """Of tokens that are places their relevancy; of mixtures of channels their evidence at each place, by their relevancy."""
    asked = Attentive.of(network, pixels)
    found = token_relevancy(asked.part, asked.inputs, asked.to_tokens, asked.tokens)
    rows = [found.for_fake, found.for_real]
    if found.evidence is not None:
        rows = [(row[:, :, None] * found.evidence).sum(1) for row in rows]
    return asked.maps(rows[0]), asked.maps(rows[1])


def raw_attention(network: Network, pixels: Tensor) -> Maps:
    """How the last block's tokens are weighed by those that the verdict is drawn from; the same whatever is asked."""
    asked = Attentive.of(network, pixels)
    last = attention_weights(asked.part, asked.inputs)[-1]
    return _weighed(asked, asked.tokens.row(last.shape[-1])[:, : last.shape[1]] @ last)


def rollout(network: Network, pixels: Tensor) -> Maps:
    """Attention through all blocks, each token half of what it was (Abnar and Zuidema 2020); the same whatever is asked."""
    asked = Attentive.of(network, pixels)
    *others, last = attention_weights(asked.part, asked.inputs)
    row = asked.tokens.row(last.shape[-1])[:, : last.shape[1]] @ _half_itself(last)
    for weights in reversed(others):
        row = row @ _half_itself(weights)
    return _weighed(asked, row)


def cam(kind: str, network: Network, pixels: Tensor) -> Maps:
    """One of the grad-cam package's, on the backbone's feature map."""
    import pytorch_grad_cam  # takes seconds, which who asks for none need not wait

    with frozen(network), getattr(pytorch_grad_cam, kind)(network, [network.backbone]) as maps_of:
        pixels = pixels.detach().clone().requires_grad_()
        for_fake, for_real = (
            torch.from_numpy(maps_of(pixels, [lambda logit, sign=sign: sign * logit] * len(pixels))) for sign in (1, -1)
        )
    return for_fake, for_real


def input_gradient(network: Network, pixels: Tensor) -> Maps:
    """How much the logit would follow each pixel (Simonyan et al. 2014), either way."""
    with frozen(network), torch.enable_grad():
        pixels = pixels.detach().clone().requires_grad_()
        slope = torch.autograd.grad(network(pixels).sum(), pixels)[0].abs().sum(1)
    return slope, slope


def token_evidence(network: Network, pixels: Tensor) -> Maps:
    """The evidence without the relevancy, all tokens alike: what relevancy of such tokens has to be better than."""
    asked = Attentive.of(network, pixels)
    evidence = token_relevancy(asked.part, asked.inputs, asked.to_tokens).evidence
    assert evidence is not None
    found = asked.maps(evidence.sum(1))
    return found, found


def published_picture(network: Network, pixels: Tensor) -> Maps:
    """The relevancy of the tokens, row after row in a square, as published. A token is no place: this shows no place either."""
    asked = Attentive.of(network, pixels)
    found = token_relevancy(asked.part, asked.inputs)
    count = found.for_fake.shape[1]
    if round(count**0.5) ** 2 != count:
        raise UserError(f"the published picture is a square of tokens; this network has {count}")
    return _by_place(found.for_fake), _by_place(found.for_real)


@dataclass(frozen=True)
class MapMethod:
    of: Callable[[Network, Tensor], Maps]
    words: str
    fits: Callable[[Network], bool]
    is_class_specific: bool  # whether its maps for fake and for real differ; else there is no evidence against a label


def _any(network: Network) -> bool:
    return True


def _has_attention(network: Network) -> bool:
    return hasattr(network.head, "transformer") or getattr(network.backbone, "tokens", None) is not None


def _has_a_map(network: Network) -> bool:
    return network.grid != (1, 1)


def _mixes_channels(network: Network) -> bool:
    return isinstance(network.head, ChannelTransformer)


def best(network: Network, pixels: Tensor) -> Maps:
    return METHODS[BEST[_has_attention(network)]].of(network, pixels)


BEST = {True: "relevancy", False: "hires_cam"}  # where there is attention; else the CAM that no averaging takes places from
DEFAULT = "best"
METHODS = {
    DEFAULT: MapMethod(
        best, "attention's relevancy, or HiRes-CAM of a network without attention", _any, is_class_specific=True
    ),
    "relevancy": MapMethod(relevancy, "attention's relevancy for the verdict", _has_attention, is_class_specific=True),
    "raw_attention": MapMethod(raw_attention, "the last block's attention", _has_attention, is_class_specific=False),
    "rollout": MapMethod(rollout, "attention through all blocks", _has_attention, is_class_specific=False),
    "grad_cam": MapMethod(partial(cam, "GradCAM"), "Grad-CAM on the backbone", _has_a_map, is_class_specific=True),
    "hires_cam": MapMethod(partial(cam, "HiResCAM"), "HiRes-CAM on the backbone", _has_a_map, is_class_specific=True),
    "layer_cam": MapMethod(partial(cam, "LayerCAM"), "Layer-CAM on the backbone", _has_a_map, is_class_specific=True),
    "input_gradient": MapMethod(input_gradient, "the gradient by each pixel", _any, is_class_specific=False),
    "token_evidence": MapMethod(
        token_evidence, "the tokens' evidence, without relevancy", _mixes_channels, is_class_specific=False
    ),
    "published": MapMethod(
        published_picture, "the published picture; it shows no places", _mixes_channels, is_class_specific=True
    ),
}


def named_for(network: Network, name: str) -> str:
    """The method's own name, which for the best is not the same with every network."""
    return BEST[_has_attention(network)] if name == DEFAULT else name


def method_for(network: Network, name: str) -> MapMethod:
    """The method of that name, if it can be asked of the network."""
    method = METHODS[named_for(network, name)]
    if not method.fits(network):
        fitting = ", ".join(name for name, one in METHODS.items() if one.fits(network))
        raise UserError(f"--method {name}: {type(network.head).__name__} has nothing to show by it; there are: {fitting}")
    return method


def _to_tokens(network: Network) -> nn.Module:
    """What makes the published detector's tokens: each is a mixture of channels, its numbers are that mixture's map."""
    return network.head.get_submodule("patch_to_embedding")


def _weighed(asked: Attentive, row: Tensor) -> Maps:
    """How much each token (b, 1, n) counts -> how much each place does."""
    weights = row[:, 0, asked.tokens.prefix :]
    if asked.to_tokens is not None:
        with torch.no_grad(), outputs_of(asked.to_tokens) as tokens:
            asked.part(asked.inputs)
        weights = (weights[:, :, None] * tokens[0].detach().abs()).sum(1)
    found = asked.maps(weights)
    return found, found


def _by_place(found: Tensor) -> Tensor:
    """(b, h w) -> (b, h, w), of a square."""
    side = round(found.shape[-1] ** 0.5)
    return found.unflatten(-1, (side, side))


def _half_itself(weights: Tensor) -> Tensor:
    """Of the first tokens (b, m, n): half the attention, half what they were."""
    asking, count = weights.shape[-2:]
    return (weights + torch.eye(count, device=weights.device)[:asking]) / 2
