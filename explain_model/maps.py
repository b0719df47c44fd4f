"""Maps: a network and prepared pixels -> how much each place spoke for a verdict (b, h, w), by one of several methods.

`signs` (b,) says which verdict: 1 asks what spoke for fake, -1 what spoke for real. The maps of all methods are at least 0 and
have a scale of their own; heatmaps.py gives them a common one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from explain_model.relevancy import attention_weights, class_token_relevancy, frozen, outputs_of
from model_test_train.networks.detectors import ChannelTransformer
from model_test_train.networks.network import Network
from pipeline.errors import UserError

MapOf = Callable[[Network, Tensor, Tensor], Tensor]


def relevancy(network: Network, pixels: Tensor, signs: Tensor) -> Tensor:
    """Of tokens that are places their relevancy; of mixtures of channels their evidence, by their relevancy."""
    of_tokens = class_token_relevancy(network, pixels, signs)
    if network.detector.places:
        return of_tokens.unflatten(-1, network.detector.places)
    return (of_tokens[:, :, None, None] * _token_evidence(network, pixels, signs)).sum(1)


def raw_attention(network: Network, pixels: Tensor, signs: Tensor) -> Tensor:
    """How the class token weighs the tokens in the last block; the same whatever is asked."""
    return _weighed(network, pixels, attention_weights(network, pixels)[-1][:, 0, 1:])


def rollout(network: Network, pixels: Tensor, signs: Tensor) -> Tensor:
    """Attention through all blocks, each token half of what it was (Abnar and Zuidema 2020); the same whatever is asked."""
    *others, last = attention_weights(network, pixels)
    row = _half_itself(last[:, :1])
    for weights in reversed(others):
        row = row @ _half_itself(weights)
    return _weighed(network, pixels, row[:, 0, 1:])


def grad_cam(network: Network, pixels: Tensor, signs: Tensor) -> Tensor:
    """Grad-CAM on the backbone's feature map (Selvaraju et al. 2017)."""
    from pytorch_grad_cam import GradCAM  # takes seconds, which who asks for no Grad-CAM need not wait

    asked = [lambda logit, sign=sign: sign * logit for sign in signs]
    with frozen(network), GradCAM(network, [network.backbone]) as cam:
        return torch.from_numpy(cam(pixels.detach().clone().requires_grad_(), asked))


def input_gradient(network: Network, pixels: Tensor, signs: Tensor) -> Tensor:
    """How much the logit would follow each pixel (Simonyan et al. 2014)."""
    with frozen(network), torch.enable_grad():
        pixels = pixels.detach().clone().requires_grad_()
        slope = torch.autograd.grad((signs * network(pixels)).sum(), pixels)[0]
    return slope.abs().sum(1)


def token_evidence(network: Network, pixels: Tensor, signs: Tensor) -> Tensor:
    """That evidence without the relevancy, all tokens alike: what relevancy of such tokens has to be better than."""
    return _token_evidence(network, pixels, signs).sum(1)


def published_picture(network: Network, pixels: Tensor, signs: Tensor) -> Tensor:
    """The relevancy of the tokens, row after row in a square, as published. A token is no place: this shows no place either."""
    found = class_token_relevancy(network, pixels, signs)
    side = int(found.shape[1] ** 0.5)
    if side * side != found.shape[1]:
        raise UserError(f"the published picture is a square of tokens; this network has {found.shape[1]}")
    return found.unflatten(1, (side, side))


@dataclass(frozen=True)
class MapMethod:
    of: MapOf
    words: str
    fits: Callable[[nn.Module], bool]  # the detector


def _any(detector: nn.Module) -> bool:
    return True


def _has_attention(detector: nn.Module) -> bool:
    return hasattr(detector, "transformer")


def _mixes_channels(detector: nn.Module) -> bool:
    return isinstance(detector, ChannelTransformer)


TO_TOKENS = "patch_to_embedding"  # of the published detector
RELEVANCY = "relevancy"
METHODS = {
    RELEVANCY: MapMethod(relevancy, "attention's relevancy for the verdict", _has_attention),
    "raw_attention": MapMethod(raw_attention, "the last block's attention", _has_attention),
    "rollout": MapMethod(rollout, "attention through all blocks", _has_attention),
    "grad_cam": MapMethod(grad_cam, "Grad-CAM on the backbone", _any),
    "input_gradient": MapMethod(input_gradient, "the gradient by each pixel", _any),
    "token_evidence": MapMethod(token_evidence, "the tokens' evidence, without relevancy", _mixes_channels),
    "published": MapMethod(published_picture, "the published picture, whose places mean nothing", _mixes_channels),
}


def method_for(network: Network, name: str) -> MapMethod:
    """The method of that name, if it can be asked of the network."""
    method = METHODS[name]
    if not method.fits(network.detector):
        fitting = ", ".join(name for name, one in METHODS.items() if one.fits(network.detector))
        raise UserError(f"--method {name}: {type(network.detector).__name__} has nothing to show by it; there are: {fitting}")
    return method


def _weighed(network: Network, pixels: Tensor, weights: Tensor) -> Tensor:
    """How much each token (b, n) counts -> how much each place of the feature map does."""
    if network.detector.places:
        return weights.unflatten(-1, network.detector.places)
    with torch.no_grad(), outputs_of(network.detector.get_submodule(TO_TOKENS)) as tokens:
        network(pixels)
    return (weights[:, :, None, None] * _by_place(tokens[0].detach().abs())).sum(1)


def _token_evidence(network: Network, pixels: Tensor, signs: Tensor) -> Tensor:
    """(b, tokens, h, w): a token of the published network is a mixture of channels, its numbers are that mixture's map.

    How strong each is, times how much the verdict follows it. One picture at a time: many would fill the memory.
    """
    found = []
    for picture, sign in zip(pixels.split(1), signs, strict=True):
        with torch.enable_grad(), frozen(network), outputs_of(network.detector.get_submodule(TO_TOKENS)) as tokens:
            logit = sign * network(picture).sum()
        slope = torch.autograd.grad(logit, tokens[0])[0]
        found.append((tokens[0].detach() * slope).abs())
    return _by_place(torch.cat(found))


def _by_place(of_tokens: Tensor) -> Tensor:
    """(b, tokens, h w) -> (b, tokens, h, w)."""
    side = int(of_tokens.shape[-1] ** 0.5)
    return of_tokens.unflatten(-1, (side, side))


def _half_itself(weights: Tensor) -> Tensor:
    """Of the first tokens (b, m, n): half the attention, half what they were."""
    asking, count = weights.shape[-2:]
    return (weights + torch.eye(count, device=weights.device)[:asking]) / 2
