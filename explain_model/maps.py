"""Maps: a network and prepared pixels -> what each place spoke for fake and for real, by one of several methods.

The maps of all methods are at least 0 and have a scale of their own; heatmaps.py gives them a common one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from explain_model.relevancy import attention_weights, class_token_relevancy, frozen, outputs_of
from model_test_train.networks.detectors import ChannelTransformer
from model_test_train.networks.network import Network
from pipeline.errors import UserError

Maps = tuple[Tensor, Tensor]  # for fake and for real, (b, h, w) each


def relevancy(network: Network, pixels: Tensor) -> Maps:
    """Of tokens that are places their relevancy; of mixtures of channels their evidence at each place, by their relevancy."""
    places = network.detector.places
    found = class_token_relevancy(network, pixels, None if places else _to_tokens(network))
    rows = found.for_fake, found.for_real
    if found.evidence is None:
        for_fake, for_real = (row.unflatten(-1, places) for row in rows)
    else:
        for_fake, for_real = (_by_place((row[:, :, None] * found.evidence).sum(1)) for row in rows)
    return for_fake, for_real


def raw_attention(network: Network, pixels: Tensor) -> Maps:
    """How the class token weighs the tokens in the last block; the same whatever is asked."""
    return _weighed(network, pixels, attention_weights(network, pixels)[-1][:, 0, 1:])


def rollout(network: Network, pixels: Tensor) -> Maps:
    """Attention through all blocks, each token half of what it was (Abnar and Zuidema 2020); the same whatever is asked."""
    *others, last = attention_weights(network, pixels)
    row = _half_itself(last[:, :1])
    for weights in reversed(others):
        row = row @ _half_itself(weights)
    return _weighed(network, pixels, row[:, 0, 1:])


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
    evidence = class_token_relevancy(network, pixels, _to_tokens(network)).evidence
    assert evidence is not None
    found = _by_place(evidence.sum(1))
    return found, found


def published_picture(network: Network, pixels: Tensor) -> Maps:
    """The relevancy of the tokens, row after row in a square, as published. A token is no place: this shows no place either."""
    found = class_token_relevancy(network, pixels)
    count = found.for_fake.shape[1]
    if round(count**0.5) ** 2 != count:
        raise UserError(f"the published picture is a square of tokens; this network has {count}")
    return _by_place(found.for_fake), _by_place(found.for_real)


@dataclass(frozen=True)
class MapMethod:
    of: Callable[[Network, Tensor], Maps]
    words: str
    fits: Callable[[nn.Module], bool]  # the detector


def _any(detector: nn.Module) -> bool:
    return True


def _has_attention(detector: nn.Module) -> bool:
    return hasattr(detector, "transformer")


def _mixes_channels(detector: nn.Module) -> bool:
    return isinstance(detector, ChannelTransformer)


RELEVANCY = "relevancy"
METHODS = {
    RELEVANCY: MapMethod(relevancy, "attention's relevancy for the verdict", _has_attention),
    "raw_attention": MapMethod(raw_attention, "the last block's attention", _has_attention),
    "rollout": MapMethod(rollout, "attention through all blocks", _has_attention),
    "grad_cam": MapMethod(partial(cam, "GradCAM"), "Grad-CAM on the backbone", _any),
    "hires_cam": MapMethod(partial(cam, "HiResCAM"), "HiRes-CAM on the backbone", _any),
    "layer_cam": MapMethod(partial(cam, "LayerCAM"), "Layer-CAM on the backbone", _any),
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


def _to_tokens(network: Network) -> nn.Module:
    """What makes the published detector's tokens: each is a mixture of channels, its numbers are that mixture's map."""
    return network.detector.get_submodule("patch_to_embedding")


def _weighed(network: Network, pixels: Tensor, weights: Tensor) -> Maps:
    """How much each token (b, n) counts -> how much each place of the feature map does."""
    if network.detector.places:
        found = weights.unflatten(-1, network.detector.places)
    else:
        with torch.no_grad(), outputs_of(_to_tokens(network)) as tokens:
            network(pixels)
        found = _by_place((weights[:, :, None] * tokens[0].detach().abs()).sum(1))
    return found, found


def _by_place(found: Tensor) -> Tensor:
    """(b, h w) -> (b, h, w), of a square."""
    side = round(found.shape[-1] ** 0.5)
    return found.unflatten(-1, (side, side))


def _half_itself(weights: Tensor) -> Tensor:
    """Of the first tokens (b, m, n): half the attention, half what they were."""
    asking, count = weights.shape[-2:]
    return (weights + torch.eye(count, device=weights.device)[:asking]) / 2
