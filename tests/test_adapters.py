"""Adapters and losses for tuning large pretrained networks."""

import math
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from explain_deepfakes.model_test_train.networks.adapters import AdapterOptions, add_adapters
from explain_deepfakes.model_test_train.networks.network import build_network, read_description
from explain_deepfakes.model_test_train.training.losses import EmbeddingWeights
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.project import CODE

TINY = {"embed_dim": 64, "depth": 2, "num_heads": 2}
LAYERS = ("*.attn.qkv", "*.attn.proj")


def transformer() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0, img_size=64, **TINY).eval()


@pytest.mark.parametrize("kind", ["lora", "svd"])
def test_an_adapted_network_begins_where_the_pretrained_one_was(kind: str) -> None:
    original, adapted, pixels = transformer(), transformer(), torch.randn(2, 3, 64, 64)
    add_adapters(adapted, AdapterOptions(kind, 2, LAYERS), is_pretrained=True)
    with torch.no_grad():
        assert torch.allclose(original(pixels), adapted(pixels), atol=1e-5)
    factors = [name for name, _ in adapted.named_parameters() if "parametrizations.weight.0" in name]
    assert len(factors) == 4 * {"lora": 2, "svd": 3}[kind]


def test_the_frozen_part_has_all_but_the_smallest_singular_values() -> None:
    original, adapted = transformer(), transformer()
    add_adapters(adapted, AdapterOptions("svd", 3, LAYERS), is_pretrained=True)
    values = torch.linalg.svdvals(original.blocks[0].attn.proj.weight)
    frozen = torch.linalg.svdvals(adapted.blocks[0].attn.proj.parametrizations.weight.original)
    assert torch.allclose(frozen[:-3], values[:-3], atol=1e-5)
    assert frozen[-3:].max() < 1e-5
    assert torch.allclose(adapted.blocks[0].attn.proj.parametrizations.weight[0].values, values[-3:], atol=1e-6)


def test_layers_that_do_not_exist_are_an_error() -> None:
    with pytest.raises(UserError, match=r"backbone.adapter.layers: no linear layer matches \*.attention"):
        add_adapters(transformer(), AdapterOptions("lora", 2, ("*.attention",)), is_pretrained=False)


@pytest.mark.parametrize("config", ["svd_tuning", "lora"])
def test_pretrained_weights_are_loaded_before_the_adapters_are_added(config: str, tmp_path: Path) -> None:
    description = read_description(CODE / f"model_test_train/configs/{config}.yaml")
    description["backbone"] |= {**TINY, "pretrained": False}
    net = timm.create_model("vit_large_patch14_clip_quickgelu_224", pretrained=False, num_classes=0, **TINY)
    save_file(net.state_dict(), tmp_path / "clip.safetensors")
    description["backbone"]["pretrained"] = str(tmp_path / "clip.safetensors")
    network, pixels = build_network(description).eval(), torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        assert torch.allclose(network.backbone(pixels)[:, :, 0, 0], net.eval()(pixels), atol=1e-4)


def test_alignment_is_zero_where_each_class_is_a_point_and_uniformity_where_all_vectors_are_one() -> None:
    one, other = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    labels = torch.tensor([0.0, 0.0, 1.0, 1.0])
    apart = torch.stack((one, one, other, other))
    assert EmbeddingWeights(1.0, 0.0).loss(apart, labels) == 0
    assert EmbeddingWeights(1.0, 0.0).loss(torch.stack((one, other, one, other)), labels) == pytest.approx(2.0)
    assert EmbeddingWeights(0.0, 1.0).loss(torch.stack((one,) * 4), labels) == pytest.approx(0.0)
    # Of six pairs, four are at a squared distance of 2, and two are equal.
    assert EmbeddingWeights(0.0, 1.0).loss(apart, labels) == pytest.approx(math.log((4 * math.exp(-4) + 2) / 6), abs=1e-5)
    assert EmbeddingWeights(0.5, 0.0).loss(torch.stack((one, other, one)), labels[1:]) == pytest.approx(1.0)
    assert EmbeddingWeights(1.0, 0.0).loss(torch.stack((one, other)), torch.tensor([0.0, 1.0])) == 0
    assert not EmbeddingWeights(0.0, 0.0)
