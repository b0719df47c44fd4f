"""Networks: what goes in, what comes out, and that all of it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model_test_train.inputs import InputContract
from model_test_train.networks.network import build_network, read_description
from pipeline.errors import UserError

CONFIGS = Path(__file__).parents[1] / "model_test_train/configs"
NAMES = [path.stem for path in sorted(CONFIGS.glob("*.yaml"))]


def description(name: str) -> dict:
    return read_description(CONFIGS / f"{name}.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_each_picture_gets_one_logit_whatever_else_is_in_the_batch(name: str) -> None:
    network = build_network(description(name)).eval()
    pixels = torch.randn(3, 3, network.input.size, network.input.size)
    with torch.inference_mode():
        together, alone = network(pixels), network(pixels[1:2])
    assert together.shape == (3,)
    assert torch.allclose(together[1], alone[0], atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_gradient_reaches_every_weight_that_is_meant_to_learn(name: str) -> None:
    network = build_network(description(name)).train()
    pixels = torch.randn(4, 3, network.input.size, network.input.size)
    weights = torch.tensor([1.0, -1.0, 2.0, 3.0])
    if network.detector.places:
        logits, place_logits, gaze = network.judge_places(pixels)
        (logits @ weights + place_logits.mean((1, 2)) @ weights).backward()
        assert torch.all((gaze > 0) & (gaze < 1))
    else:
        (network(pixels) @ weights).backward()
    learns = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    assert learns
    assert [name for name, weight in learns.items() if weight.grad is None or not weight.grad.any()] == []


def test_the_published_network_has_the_published_shape() -> None:
    network = build_network(description("explained_architecture"))
    shapes = {name: tuple(weight.shape) for name, weight in network.state_dict().items()}
    assert shapes["detector.patch_to_embedding.weight"] == (1024, 1, 1280)
    assert shapes["detector.pos_embedding"] == (1, 1025, 49)
    assert shapes["detector.transformer.blocks.5.attn.to_qkv.weight"] == (3 * 8 * 64, 49)
    assert shapes["detector.transformer.blocks.0.mlp.net.0.weight"] == (2048, 49)
    assert shapes["detector.mlp_head.2.weight"] == (1, 2048)
    frozen = {name.split(".")[3] for name, w in network.named_parameters() if "_blocks" in name and not w.requires_grad}
    assert frozen == {str(block) for block in range(13)}


@pytest.mark.parametrize(
    ("section", "change", "told"),
    [
        ("backbone", {"name": "vgg"}, "backbone 'vgg' is unknown"),
        ("backbone", {"name": "timm/no_such_net"}, "not among timm"),
        ("backbone", {"stride": 7}, "no feature map at stride 7"),
        ("backbone", {"pretrained": True}, "name the file there, or say 'pretrained: false'"),
        ("backbone", {"pretrained": "weights/none.safetensors"}, "none.safetensors is not there"),
        ("detector", {"name": "oracle"}, "detector 'oracle' is unknown"),
        ("detector", {"width": 3}, "detector: got an unexpected keyword argument 'width'"),
        ("input", {"resize": "crop"}, "input.resize is 'crop'; it can be: stretch, pad"),
    ],
)
def test_a_wrong_description_is_refused_in_words(section: str, change: dict, told: str) -> None:
    wrong = description("places")
    wrong[section] = {**wrong[section], **change}
    with pytest.raises(UserError) as error:
        build_network(wrong)
    assert told in str(error.value)


def contract(**changes: object) -> InputContract:
    usual = {"size": 32, "colour": "rgb", "scale": 1.0, "mean": (0.0,) * 3, "std": (1.0,) * 3, "resize": "pad"}
    return InputContract(**{**usual, **changes})  # type: ignore[arg-type]


def test_prepared_pixels_follow_the_contract() -> None:
    red = np.zeros((10, 20, 3), np.uint8)
    red[..., 0] = 200
    pixels = contract().prepare([red])
    assert pixels.shape == (1, 3, 32, 32)
    assert pixels[0, 0, 16, 16] == 200
    assert pixels[0, :, 0, 0].tolist() == [0, 0, 0]  # padded above, since the crop is wide
    assert contract(colour="bgr").prepare([red])[0, 2, 16, 16] == 200
    assert contract(resize="stretch").prepare([red])[0, 0, 0, 0] == 200
    assert contract(scale=0.5, mean=(10.0, 0.0, 0.0), std=(3.0, 1.0, 1.0)).prepare([red])[0, 0, 16, 16] == 30


@pytest.mark.parametrize("resize", ["pad", "stretch"])
def test_a_map_comes_back_to_the_place_in_the_crop_that_it_came_from(resize: str) -> None:
    crop = np.zeros((40, 80, 3), np.uint8)
    crop[10:20, 60:70] = 255
    seen = contract(resize=resize).fit(crop)[..., 0].astype(np.float32)
    back = contract(resize=resize).unfit(seen, 40, 80)
    y, x = np.unravel_index(back.argmax(), back.shape)
    assert 10 <= y < 20
    assert 60 <= x < 70
