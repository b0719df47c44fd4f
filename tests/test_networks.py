"""Networks: properties that every network of configs/ must have."""

import copy
from functools import cache, reduce
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from explain_deepfakes.explain_model.maps.heatmaps import compute_heatmaps
from explain_deepfakes.model_test_train.networks.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from explain_deepfakes.model_test_train.networks.input_contract import InputContract
from explain_deepfakes.model_test_train.networks.network import Description, Network, build_network, read_description
from explain_deepfakes.model_test_train.training.augmentations.augmentation import build_augmentation
from explain_deepfakes.model_test_train.training.trainer import Recipe, Run, Trainer, begin_run
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.memory import keep_memory
from explain_deepfakes.pipeline.params import build_settings

CONFIGS = Path(__file__).parents[1] / "model_test_train/configs"
PUBLISHED = [path.stem for path in sorted(CONFIGS.glob("*.yaml"))]
SMALL = {path.stem for path in CONFIGS.glob("demo/*.yaml")}  # the same networks for smaller pictures
LARGE = {"norm_tuning", "svd_tuning", "lora"}  # tests build them with a smaller transformer
LITTLE = 64  # pixels, for networks that take any size
NAMES = [f"demo/{name}" if name in SMALL else name for name in PUBLISHED]
each_training = pytest.mark.parametrize("name", NAMES)
each_network = pytest.mark.parametrize("name", [name for name in NAMES if name != "clip_layer_norm"])  # clip's network


def published(name: str) -> Description:
    """Read a published description, without its pretrained weights."""
    config = read_description(CONFIGS / f"{name}.yaml")
    if "pretrained" in config["backbone"]:
        config["backbone"]["pretrained"] = False
    return config


def description(name: str) -> Description:
    """Return a smaller version of the network: smaller pictures, fewer tokens, the smallest CLIP model."""
    config = published(name)
    if "clip" in name:
        config["backbone"]["name"] = "clip/ViT-S-32-alt"
    elif name in LARGE:
        config["backbone"] |= {"embed_dim": 64, "depth": 2, "num_heads": 2}
    elif name == "explained_architecture":
        config["detector"] |= {"tokens": 64, "depth": 2}
    elif name.startswith("demo/"):
        config["input"]["size"] = LITTLE
        config["backbone"] |= {"img_size": LITTLE} if "img_size" in config["backbone"] else {}
    return config


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name != "clip_layer_norm"])
def test_every_yaml_describes_a_network(name: str) -> None:
    network = build_network(description(name) if name in LARGE else published(name))
    build_settings(Recipe, published(name)["training"], "training")
    assert build_augmentation(published(name)["augmentation"])
    assert all(network.grid)


@cache
def fresh(name: str) -> Network:
    keep_memory()
    torch.manual_seed(1)
    return build_network(description(name))


def network_of(name: str) -> Network:
    return copy.deepcopy(fresh(name)).eval()


def logits(network: Network, pixels: Tensor) -> Tensor:
    with torch.inference_mode():
        return network(pixels)


def pixels_for(network: Network, count: int) -> Tensor:
    return torch.randn(count, 3, network.input.size, network.input.size, generator=torch.Generator().manual_seed(1))


@each_network
def test_each_picture_gets_one_logit_whatever_else_is_in_the_batch_and_always_the_same(name: str) -> None:
    network = network_of(name)
    pixels = pixels_for(network, 3)
    together = logits(network, pixels)
    assert together.shape == (3,)
    assert torch.allclose(together[1], logits(network, pixels[1:2])[0], atol=1e-4)
    assert torch.equal(together, logits(network, pixels))
    torch.manual_seed(1)
    again = build_network(description(name)).eval()
    assert torch.equal(together, logits(again, pixels))


@each_network
def test_a_checkpoint_gives_back_the_logits_and_the_input_contract(name: str, tmp_path: Path) -> None:
    network = network_of(name)
    card = Checkpoint(name, description(name), {}, 0.5, None, ["DEMO"], {})
    save_checkpoint(tmp_path / "it.safetensors", network, card)
    loaded, loaded_card = load_checkpoint(tmp_path / "it.safetensors", torch.device("cpu"))
    pixels = pixels_for(network, 1)
    assert torch.equal(logits(network, pixels), logits(loaded, pixels))
    assert (loaded.input, loaded.aux_output_names, loaded_card.description) == (
        network.input,
        network.aux_output_names,
        description(name),
    )


@pytest.mark.parametrize("name", ["demo/f3net", "demo/patch_transformer"])
def test_a_checkpoint_with_the_former_names_of_weights_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    former = {"head.": "detector.", "to_patch_logit.": "to_place_logit."}
    former |= {".queries.": ".asks.", ".keys.": ".shows.", ".values.": ".tells."}
    network, file = network_of(name), tmp_path / "former.safetensors"
    save_checkpoint(file, network, Checkpoint(name, description(name), {}, 0.5, None, ["DEMO"], {}))
    with safe_open(file, "pt") as saved:
        metadata = saved.metadata()
    weights = {
        reduce(lambda key, names: key.replace(*names), former.items(), weight): tensor
        for weight, tensor in load_file(file).items()
    }
    assert not set(weights) <= set(network.state_dict())
    save_file(weights, file, metadata)
    loaded, _ = load_checkpoint(file, torch.device("cpu"))
    pixels = pixels_for(network, 1)
    assert torch.equal(logits(network, pixels), logits(loaded, pixels))


@each_training
def test_training_reaches_every_weight_that_is_meant_to_learn_and_no_other(name: str) -> None:
    recipe = build_settings(Recipe, description(name)["training"], "training")
    last = max((phase.after for phase in recipe.phases), default=0)
    run = begin_run(network_of(name), recipe, steps_per_epoch=1, num_epochs=last + 2)
    run.epoch = last
    trainer = Trainer(run, recipe, seed=0)
    run.network.train()
    learns = {name: weight for name, weight in run.network.named_parameters() if weight.requires_grad}
    assert learns
    not_reached = set(learns)
    for number in range(4):  # some blocks are zero at first, and some are dropped in a step
        run.record_step(trainer.step(batch_for(run.network, seed=number)))
        not_reached -= {name for name, weight in learns.items() if weight.grad is not None and weight.grad.any()}
    assert not_reached == set()
    before = dict(fresh(name).named_parameters())
    moved = {name for name, weight in run.network.named_parameters() if not torch.equal(weight, before[name])}
    assert moved <= set(learns)
    assert not run.fixed & set(learns)


def batch_for(network: Network, seed: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    side = network.input.size
    pictures = torch.randint(0, 255, (2, side, side, 3), generator=generator, dtype=torch.uint8)
    masks = torch.rand(2, *(network.patch_grid or (1, 1)), generator=generator)
    return pictures, torch.tensor([0.0, 1.0]), masks


@each_training
def test_resumed_training_ends_with_the_same_bits_as_uninterrupted_training(name: str, tmp_path: Path) -> None:
    recipe = build_settings(Recipe, description(name)["training"], "training")
    uninterrupted, first, second = (begin_run(network_of(name), recipe, 2, 1) for _ in range(3))
    train_steps(uninterrupted, recipe, 2)
    train_steps(first, recipe, 1)
    torch.save(first.state(), tmp_path / "state.pt")
    second.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    train_steps(second, recipe, 1)
    states = [run.network.state_dict() for run in (uninterrupted, second)]
    assert [key for key in states[0] if not torch.equal(states[0][key], states[1][key])] == []


def train_steps(run: Run, recipe: Recipe, steps: int) -> None:
    trainer = Trainer(run, recipe, seed=0)
    run.network.train()
    for _ in range(steps):
        run.record_step(trainer.step(batch_for(run.network)))


@each_network
def test_a_heatmap_follows_from_the_network_and_the_picture(name: str) -> None:
    """A random map would differ between calls; a map that ignored the network or the picture would not change."""
    network = network_of(name)
    crops = [np.random.default_rng(0).integers(0, 255, (90, 80, 3), np.uint8), np.full((90, 80, 3), 20, np.uint8)]
    crops[1][50:70, 10:40] = 250
    first, second = (compute_heatmaps(network, crops, [True, False]) for _ in range(2))
    for heat, again in zip(first, second, strict=True):
        assert heat.evidence_for.shape == (90, 80)
        assert 0 <= heat.evidence_for.min() <= heat.evidence_for.max() <= 1
        assert np.array_equal(heat.evidence_for, again.evidence_for)
    assert not np.array_equal(first[0].for_fake, first[1].for_fake)  # with random weights they differ little in some networks
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(weight.flatten()[torch.randperm(weight.numel())].view_as(weight))
    assert not np.allclose(first[0].for_fake, compute_heatmaps(network, crops[:1], [True])[0].for_fake)


def test_the_published_network_has_the_published_shape() -> None:
    network = build_network(published("explained_architecture"))
    shapes = {name: tuple(weight.shape) for name, weight in network.state_dict().items()}
    assert shapes["head.patch_to_embedding.weight"] == (1024, 1, 1280)
    assert shapes["head.pos_embedding"] == (1, 1025, 49)
    assert shapes["head.transformer.blocks.5.attn.to_qkv.weight"] == (3 * 8 * 64, 49)
    assert shapes["head.transformer.blocks.0.mlp.net.0.weight"] == (2048, 49)
    assert shapes["head.mlp_head.2.weight"] == (1, 2048)
    frozen = {name.split(".")[3] for name, w in network.named_parameters() if "_blocks" in name and not w.requires_grad}
    assert frozen == {str(block) for block in range(13)}


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("backbone", {"name": "vgg"}, "backbone 'vgg' is unknown"),
        ("backbone", {"name": "timm/no_such_net"}, "not among the networks of timm"),
        ("backbone", {"stride": 7}, "no feature map at stride 7"),
        ("backbone", {"pretrained": True}, "get them from https://huggingface.co/timm/tf_efficientnetv2_b0.in1k with"),
        ("backbone", {"pretrained": "weights/none.safetensors"}, "none.safetensors is missing"),
        ("detector", {"name": "oracle"}, "detector 'oracle' is unknown"),
        ("detector", {"width": 3}, "detector: got an unexpected keyword argument 'width'"),
        ("input", {"resize": "crop"}, "input.resize is 'crop'; choose from: stretch, pad"),
    ],
)
def test_a_wrong_description_is_refused_in_words(section: str, change: dict, message: str) -> None:
    wrong = description("patch_transformer")
    wrong[section] = {**wrong[section], **change}
    with pytest.raises(UserError) as error:
        build_network(wrong)
    assert message in str(error.value)


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
    fitted = contract(resize=resize).fit(crop)[..., 0].astype(np.float32)
    back = contract(resize=resize).unfit(fitted, 40, 80)
    y, x = np.unravel_index(back.argmax(), back.shape)
    assert 10 <= y < 20
    assert 60 <= x < 70
