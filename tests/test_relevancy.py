"""Relevancy: agreement with the published rules, and heatmaps that highlight the deciding patch.

PICTURES=16 sets the number of pictures for the published network.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from published_network import PublishedNetwork, published_relevancy
from torch import Tensor, nn

from explain_deepfakes.explain_model.faithfulness.evaluation import contrast
from explain_deepfakes.explain_model.faithfulness.randomised import randomised_networks
from explain_deepfakes.explain_model.maps.heatmaps import (
    compute_heatmaps,
    confidence,
    opposing_heat,
    peak,
    relevancy_shares,
    relevancy_to_heat,
)
from explain_deepfakes.explain_model.maps.methods import METHODS, get_map_method
from explain_deepfakes.explain_model.maps.relevancy import Relevancy, attention_weights, token_relevancy
from explain_deepfakes.model_test_train.networks.heads import ChannelTransformer
from explain_deepfakes.model_test_train.networks.input_contract import InputContract
from explain_deepfakes.model_test_train.networks.network import Network, build_network, read_description
from explain_deepfakes.model_test_train.networks.published_weights import load_hybrid
from explain_deepfakes.model_test_train.networks.transformer import Attention
from explain_deepfakes.pipeline.errors import UserError

PICTURES = int(os.environ.get("PICTURES", 2))
CONFIGS = Path(__file__).parents[1] / "model_test_train/configs"
CONTRACT = InputContract(64, "rgb", 1 / 255, (0.0,) * 3, (1.0,) * 3, "stretch")


def attend_plainly(attention: Attention, x: Tensor, query_count: int | None = None) -> Tensor:
    """Compute attention by its formula, and keep the weights."""
    q, k, v = (
        projection.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for projection in attention.to_qkv(x).chunk(3, -1)
    )
    attention.weights = (q @ k.mT * attention.scale).softmax(-1)
    return attention.to_out((attention.weights @ v).transpose(1, 2).flatten(2))[:, :query_count]


def of_sign(relevancy: Relevancy, sign: float) -> Tensor:
    return relevancy.for_fake if sign > 0 else relevancy.for_real


def agree(computed: Tensor, expected: Tensor) -> bool:
    return bool((computed - expected).abs().max() <= 5e-5 * expected.abs().max())


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("count", [1, 16])
def test_relevancy_of_a_batch_equals_the_published_rules_one_by_one(
    monkeypatch: pytest.MonkeyPatch, count: int, sign: float
) -> None:
    torch.manual_seed(0)
    network = build_network(read_description(CONFIGS / "patch_transformer.yaml")).eval()
    pixels = torch.randn(count, 3, network.input.size, network.input.size)
    computed = of_sign(token_relevancy(network, pixels), sign)
    monkeypatch.setattr(Attention, "forward", attend_plainly)
    attentions = [module for module in network.modules() if isinstance(module, Attention)]
    for picture, row in zip(pixels, computed, strict=True):
        assert agree(row, published_relevancy(network, attentions, picture[None], sign))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_relevancy_of_the_published_network_is_the_published_one(sign: float) -> None:
    torch.manual_seed(0)
    published = PublishedNetwork().eval()
    ours = build_network(read_description(CONFIGS / "explained_architecture.yaml")).eval()
    load_hybrid(ours, published.state_dict())
    pixels = 255 * torch.rand(PICTURES, 3, 224, 224)
    computed = of_sign(token_relevancy(ours, pixels), sign)
    attentions = [block.attn for block in published.transformer.blocks]
    for picture, row in zip(pixels, computed, strict=True):
        assert agree(row, published_relevancy(published, attentions, picture[None], sign))


def test_explaining_leaves_the_network_as_it_was() -> None:
    torch.manual_seed(0)
    network = build_network(read_description(CONFIGS / "patch_transformer.yaml")).eval()
    pixels = torch.randn(1, 3, network.input.size, network.input.size)
    learning = [weight.requires_grad for weight in network.parameters()]
    with torch.inference_mode():
        before = network(pixels)
    for name, method in METHODS.items():
        if method.supports(network):
            get_map_method(network, name).compute(network, pixels)
    with torch.inference_mode():
        assert torch.equal(network(pixels), before)
    assert [weight.requires_grad for weight in network.parameters()] == learning
    assert not any(module._forward_hooks for module in network.modules())
    assert all(weight.grad is None for weight in network.parameters())


def test_attention_is_a_share_of_each_token() -> None:
    network = build_network(read_description(CONFIGS / "patch_transformer.yaml")).eval()
    (weights,) = attention_weights(network, torch.randn(2, 3, network.input.size, network.input.size))
    assert weights.shape == (2, 1, 257)
    assert weights.sum(-1).allclose(torch.ones(()))


class Brightness(nn.Module):
    """A backbone that returns the brightness of each of 8 x 8 cells."""

    def forward(self, pixels: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(pixels.mean(1, keepdim=True), 8)


class AttendsToTheBrightPatch(nn.Module):
    """The class token attends to bright cells, which are evidence for fake: so the correct heatmap is known."""

    patch_grid = (8, 8)
    transformer = True

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention(dim=2, heads=1, dim_head=2, dropout=0.0)
        with torch.no_grad():  # token: (is the class token, brightness)
            wants_bright, is_bright, says_bright = (
                [[12.0, 0.0], [0.0, 0.0]],
                [[0.0, 1.0], [0.0, 0.0]],
                [[0.0, 1.0], [0.0, 0.0]],
            )
            self.attention.to_qkv.weight.copy_(torch.tensor(wants_bright + is_bright + says_bright))
            self.attention.to_out[0].weight.copy_(torch.eye(2))
            self.attention.to_out[0].bias.zero_()

    def forward(self, features: Tensor) -> Tensor:
        cells = features.flatten(1)
        tokens = torch.stack((torch.zeros_like(cells), cells), -1)
        cls = torch.tensor([1.0, 0.0]).expand(len(tokens), 1, 2)
        return self.attention(torch.cat((cls, tokens), 1))[:, 0, 0]


def bright_at(x: int, y: int) -> np.ndarray:
    crop = np.full((64, 64, 3), 20, np.uint8)
    crop[y : y + 8, x : x + 8] = 250
    return crop


def mass_at(maps: Tensor, x: int, y: int) -> float:
    """Return the patch's share of a map's relevancy."""
    rows, columns = (side // 8 for side in maps.shape[1:])
    here = maps[0, y // 8 * rows : (y // 8 + 1) * rows, x // 8 * columns : (x // 8 + 1) * columns]
    return float(here.sum() / maps.sum())


@pytest.mark.parametrize(("x", "y"), [(0, 0), (40, 16), (56, 56)])
def test_the_heat_lies_on_the_place_that_decides(x: int, y: int) -> None:
    network = Network(Brightness(), AttendsToTheBrightPatch(), CONTRACT, (8, 8))  # type: ignore[arg-type]
    crop = bright_at(x, y)
    (heat,) = compute_heatmaps(network, [crop], [True])
    assert heat.evidence_against is not None
    assert heat.evidence_for.shape == heat.evidence_against.shape == (64, 64)
    peak_x, peak_y = peak(heat.evidence_for)
    assert x <= peak_x < x + 8
    assert y <= peak_y < y + 8
    maps, _ = METHODS["relevancy"].compute(network, CONTRACT.prepare([crop]))
    assert mass_at(maps, x, y) > 0.9


class CountsBrightPatches(nn.Module):
    """A head without attention, for which brightness is the only evidence for fake."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(0.5))

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.threshold).relu().sum((1, 2, 3))


@pytest.mark.parametrize("method", ["best", "hires_cam", "grad_cam", "layer_cam", "input_gradient"])
@pytest.mark.parametrize(("x", "y"), [(0, 0), (40, 16), (56, 56)])
def test_without_attention_the_heat_lies_on_the_patch_that_decides(method: str, x: int, y: int) -> None:
    network = Network(Brightness(), CountsBrightPatches(), CONTRACT, (8, 8)).eval()
    (heat,) = compute_heatmaps(network, [bright_at(x, y)], [True], method)
    assert patch_of_peak(heat.evidence_for) == (x, y)
    maps, _ = METHODS[method].compute(network, CONTRACT.prepare([bright_at(x, y)]))
    assert mass_at(maps, x, y) > 0.5  # a CAM is interpolated over the neighbours; a random map has 0.016


class BrightnessAndRed(nn.Module):
    """A backbone that returns the brightness, and red minus blue, of each of 8 x 8 cells."""

    def forward(self, pixels: Tensor) -> Tensor:
        red, _, blue = pixels.unbind(1)
        return nn.functional.avg_pool2d(torch.stack((pixels.sum(1), red - blue), 1), 8)


class HeadsDisagree(nn.Module):
    """Both heads attend to bright cells. To one, red is fake and blue is real; to the other, weaker one, the opposite."""

    patch_grid = (8, 8)
    transformer = True

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention(dim=3, heads=2, dim_head=1, dropout=0.0)
        with torch.no_grad():  # token: (is the class token, brightness, red minus blue)
            queries, keys, values = [[12.0, 0, 0]] * 2, [[0.0, 1, 0]] * 2, [[0.0, 0, 1], [0.0, 0, -0.7]]
            self.attention.to_qkv.weight.copy_(torch.tensor(queries + keys + values))
            self.attention.to_out[0].weight.copy_(torch.ones(3, 2))
            self.attention.to_out[0].bias.zero_()

    def forward(self, features: Tensor) -> Tensor:
        cells = features.flatten(2).mT
        tokens = torch.cat((torch.zeros_like(cells[..., :1]), cells), -1)
        cls = torch.tensor([1.0, 0.0, 0.0]).expand(len(tokens), 1, 3)
        return self.attention(torch.cat((cls, tokens), 1))[:, 0, 0]


UP, DOWN = (16, 8), (40, 48)  # x, y of the patch that raises the logit, and of the one that lowers it


def opposing_patches() -> tuple[Network, np.ndarray]:
    crop = np.zeros((64, 64, 3), np.uint8)
    for (x, y), colour in ((UP, (250, 0, 0)), (DOWN, (0, 125, 125))):
        crop[y : y + 8, x : x + 8] = colour
    return Network(BrightnessAndRed(), HeadsDisagree(), CONTRACT, (8, 8)), crop  # type: ignore[arg-type]


def patch_of_peak(heat: np.ndarray) -> tuple[int, int]:
    x, y = peak(heat)
    return x // 8 * 8, y // 8 * 8


def test_the_map_for_fake_and_the_one_against_it_lie_where_the_logit_is_driven_up_and_down() -> None:
    network, crop = opposing_patches()
    as_fake, as_real = compute_heatmaps(network, [crop, crop], [True, False], "relevancy")
    assert as_fake.evidence_against is not None
    assert as_real.evidence_against is not None
    assert patch_of_peak(as_fake.evidence_for) == UP
    assert patch_of_peak(as_fake.evidence_against) == DOWN
    assert patch_of_peak(as_real.evidence_for) == DOWN
    assert patch_of_peak(as_real.evidence_against) == UP
    assert np.array_equal(as_real.for_fake, as_fake.evidence_for)
    of_method = contrast(
        *(class_map[0].numpy() for class_map in METHODS["relevancy"].compute(network, CONTRACT.prepare([crop])))
    )
    for heat in (as_fake, as_real):
        assert heat.evidence_against is not None
        assert contrast(heat.evidence_for, heat.evidence_against) > max(0.3, 5 * of_method)


def test_a_face_without_evidence_for_its_label_has_a_map_that_says_nothing() -> None:
    nothing = np.zeros((8, 8), np.float32)
    assert confidence(nothing) == pytest.approx(0, abs=1e-6)
    assert relevancy_shares(nothing).sum() == pytest.approx(1)


@pytest.mark.parametrize("method", ["raw_attention", "input_gradient"])
def test_a_method_that_knows_no_label_has_one_map_and_nothing_against_it(method: str) -> None:
    network, crop = opposing_patches()
    as_fake, as_real = (compute_heatmaps(network, [crop], [called_fake], method)[0] for called_fake in (True, False))
    assert as_fake.evidence_against is as_real.evidence_against is None
    assert contrast(as_fake.evidence_for, as_real.evidence_for) == pytest.approx(0)


def test_evidence_against_a_label_that_nothing_speaks_for_is_not_hidden() -> None:
    label_heat, opposing = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    opposing[0, 1, 2] = 1
    assert opposing_heat(label_heat, opposing).equal(relevancy_to_heat(opposing))
    assert opposing_heat(opposing, label_heat).max() == 0


class Mixtures(Brightness):
    """The same as eight channels, each a different function of the brightness."""

    channels = 8

    def forward(self, pixels: Tensor) -> Tensor:
        gains = torch.tensor([1.0, -1.0, 0.5, 2.0, -0.5, 1.5, -2.0, 0.7])
        return (super().forward(pixels) - 20 / 255) * gains[None, :, None, None]


def of_mixtures() -> Network:
    """A network of the published form, with 64 tokens that are 0 except at bright cells."""
    torch.manual_seed(0)
    sizes = {"tokens": 64, "depth": 2, "heads": 2, "dim_head": 16, "mlp_dim": 32, "dropout": 0.0, "emb_dropout": 0.0}
    detector = ChannelTransformer(8, (8, 8), **sizes)  # type: ignore[arg-type]
    nn.init.zeros_(detector.patch_to_embedding.bias)  # type: ignore[arg-type]
    return Network(Mixtures(), detector, CONTRACT, (8, 8)).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize(("x", "y"), [(0, 0), (40, 16), (56, 56)])
def test_of_tokens_that_are_no_places_the_published_picture_misses_the_place_that_decides_and_ours_does_not(
    x: int, y: int
) -> None:
    """The published heatmap arranges 64 tokens as 8 x 8. But each token is a mixture of channels over the entire picture."""
    network, pixels = of_mixtures(), CONTRACT.prepare([bright_at(x, y)])
    ours, _ = METHODS["relevancy"].compute(network, pixels)
    published, _ = METHODS["published"].compute(network, pixels)
    assert mass_at(ours, x, y) > 0.9
    assert mass_at(published, x, y) < 0.2
    elsewhere, _ = METHODS["published"].compute(network, CONTRACT.prepare([bright_at(24, 40)]))
    assert np.corrcoef(published.flatten(), elsewhere.flatten())[0, 1] > 0.9  # it does not change when the patch moves


def test_a_method_that_the_network_has_nothing_for_is_refused_by_name() -> None:
    network = build_network(read_description(CONFIGS / "patch_transformer.yaml")).eval()
    with pytest.raises(UserError, match="--method published: PatchTransformer .* there are: best, relevancy, raw_attention"):
        get_map_method(network, "published")


def test_heat_keeps_an_absolute_scale() -> None:
    even, sharp = torch.ones(1, 4, 4), torch.zeros(1, 4, 4)
    sharp[0, 1, 2] = 1
    assert relevancy_to_heat(even).unique().tolist() == [0.25]  # an uninformative map is pale everywhere
    assert relevancy_to_heat(sharp).max() > 0.8
    assert relevancy_to_heat(torch.zeros(1, 4, 4)).unique().tolist() == [0.25]
    assert relevancy_to_heat(0.01 * even, even.sum((1, 2), keepdim=True)).max() < 0.01  # small beside the evidence that decided
    assert confidence(relevancy_to_heat(even)[0].numpy()) == pytest.approx(0, abs=1e-6)
    assert confidence(relevancy_to_heat(sharp)[0].numpy()) > 0.9


def test_shuffling_goes_from_the_verdict_down_and_leaves_the_network_itself_alone() -> None:
    network = build_network(read_description(CONFIGS / "patch_transformer.yaml"))
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    layers, changed = [], set()
    for layer, random in randomised_networks(network, seed=0):
        layers.append(layer)
        now = {name for name, weight in random.named_parameters() if not torch.equal(weight, before[name])}
        assert changed <= now
        changed = now
    assert layers[-1] == "backbone"
    assert layers.index("to_logit") < layers.index("transformer") < layers.index("to_tokens")
    assert any(name.startswith("backbone") for name in changed)
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())
