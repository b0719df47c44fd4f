"""Relevancy: the published rules, and heatmaps that lie where the decision was made."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from explain_model.heatmaps import confidence, heat_of, heatmaps, peak
from explain_model.relevancy import attention_modules, class_token_relevancy, recorded
from model_test_train.inputs import InputContract
from model_test_train.networks.network import Network, build_network, read_description
from model_test_train.networks.transformer import Attention

CONFIGS = Path(__file__).parents[1] / "model_test_train/configs"


def relevancy_by_the_book(network: nn.Module, picture: Tensor, sign: float) -> Tensor:
    """One picture, full matrices: R <- R + mean over heads of (attention x gradient, positive part) R, from the identity."""
    with recorded(attention_modules(network)) as attentions:
        logit = sign * network(picture[None])[0]
        gradients = torch.autograd.grad(logit, attentions)
    tokens = attentions[0].shape[-1]
    relevancy = torch.eye(tokens)
    for attention, gradient in zip(attentions, gradients, strict=True):
        relevancy = relevancy + (attention[0] * gradient[0]).clamp(min=0).mean(0) @ relevancy
    return relevancy[0, 1:].detach()


@pytest.mark.parametrize("name", ["places", "explained_architecture"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_relevancy_of_a_batch_equals_the_published_rules_one_by_one(name: str, sign: float) -> None:
    torch.manual_seed(0)
    network = build_network(read_description(CONFIGS / f"{name}.yaml")).eval().requires_grad_(False)
    pixels = torch.randn(2, 3, network.input.size, network.input.size)
    found = class_token_relevancy(network, pixels, torch.full((2,), sign))
    for picture, row in zip(pixels, found, strict=True):
        expected = relevancy_by_the_book(network, picture, sign)
        assert (row - expected).abs().max() <= 5e-5 * expected.abs().max()


def test_explaining_leaves_no_hook_behind() -> None:
    network = build_network(read_description(CONFIGS / "places.yaml")).eval()
    class_token_relevancy(network, torch.randn(1, 3, network.input.size, network.input.size), torch.ones(1))
    assert not any(module._forward_hooks for module in network.modules())


class Brightness(nn.Module):
    """A backbone that only sees how bright each of 8 x 8 places is."""

    stride, channels = 8, 1

    def forward(self, pixels: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(pixels.mean(1, keepdim=True), 8)


class LooksAtTheBrightPlace(nn.Module):
    """The class token attends to bright places, and what they say is fake: so the right heatmap is known."""

    places = (8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention(dim=2, heads=1, dim_head=2, dropout=0.0)
        with torch.no_grad():  # token: (is the class token, brightness)
            wants_bright, is_bright, says_bright = (
                [[8.0, 0.0], [0.0, 0.0]],
                [[0.0, 1.0], [0.0, 0.0]],
                [[0.0, 1.0], [0.0, 0.0]],
            )
            self.attention.to_qkv.weight.copy_(torch.tensor(wants_bright + is_bright + says_bright))
            self.attention.to_out[0].weight.copy_(torch.eye(2))
            self.attention.to_out[0].bias.zero_()

    def forward(self, features: Tensor) -> Tensor:
        places = features.flatten(1)
        tokens = torch.stack((torch.zeros_like(places), places), -1)
        cls = torch.tensor([1.0, 0.0]).expand(len(tokens), 1, 2)
        return self.attention(torch.cat((cls, tokens), 1))[:, 0, 0]


@pytest.mark.parametrize(("x", "y"), [(0, 0), (40, 16), (56, 56)])
def test_the_heat_lies_on_the_place_that_decides(x: int, y: int) -> None:
    contract = InputContract(64, "rgb", 1 / 255, (0.0,) * 3, (1.0,) * 3, "stretch")
    network = Network(Brightness(), LooksAtTheBrightPlace(), contract).requires_grad_(False)  # type: ignore[arg-type]
    crop = np.full((64, 64, 3), 20, np.uint8)
    crop[y : y + 8, x : x + 8] = 250
    (heat,) = heatmaps(network, [crop], [True])
    assert heat.shape == (64, 64)
    found_x, found_y = peak(heat)
    assert x <= found_x < x + 8
    assert y <= found_y < y + 8


def test_heat_keeps_an_absolute_scale() -> None:
    even, sharp = torch.ones(1, 4, 4), torch.zeros(1, 4, 4)
    sharp[0, 1, 2] = 1
    assert heat_of(even).unique().tolist() == [0.25]  # a map that says nothing is pale everywhere
    assert heat_of(sharp).max() > 0.8
    assert heat_of(torch.zeros(1, 4, 4)).unique().tolist() == [0.25]
    assert confidence(heat_of(even)[0].numpy()) == pytest.approx(0, abs=1e-6)
    assert confidence(heat_of(sharp)[0].numpy()) > 0.9
