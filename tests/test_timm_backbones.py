"""The network registry: adding a network, pretrained weights, training phases, CLIP's sentences, F3-Net's frequencies."""

import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.fft
import timm
import torch
import yaml
from safetensors.torch import save_file
from torch import nn

from explain_deepfakes.explain_model.maps.heatmaps import compute_heatmaps, concept_heatmaps
from explain_deepfakes.explain_model.maps.relevancy import CLASS_TOKEN_FIRST, AttentionOverride, token_relevancy
from explain_deepfakes.model_test_train import import_weights, networks
from explain_deepfakes.model_test_train.networks.batch_norm import fold_batch_norms
from explain_deepfakes.model_test_train.networks.f3net import FrequencyDecomposition, LocalStatistics
from explain_deepfakes.model_test_train.networks.network import Description, Network, build_network, read_description
from explain_deepfakes.model_test_train.networks.scoring import score_batch
from explain_deepfakes.model_test_train.training.trainer import Recipe, Trainer, begin_run, learning_rate_factor, should_stop
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.params import build_settings
from explain_deepfakes.pipeline.project import CODE

if TYPE_CHECKING:
    from open_clip import CLIP

CONFIGS = CODE / "model_test_train/configs"
DOCS = (CODE / "docs/networks.md").read_text()


def describe_network(name: str, **backbone: object) -> Description:
    description = read_description(CONFIGS / f"{name}.yaml")
    description["backbone"] |= backbone
    return description


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate project folder, to import weights into."""
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(CODE / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_file_and_one_yaml_add_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are those of the documentation."""
    own = DOCS[DOCS.index("## A network of your own") :]
    (tmp_path / "little.py").write_text(re.findall(r"```python\n(.*?)```", own, re.DOTALL)[0])
    text = re.findall(r"```yaml\n(.*?)```", own, re.DOTALL)[0]
    (tmp_path / "little.yaml").write_text(text.replace("common/", f"{CONFIGS}/common/"))
    monkeypatch.setattr(networks, "__path__", [*networks.__path__, str(tmp_path)])
    network = build_network(read_description(tmp_path / "little.yaml"))
    picture = np.random.default_rng(0).integers(0, 255, (70, 60, 3), np.uint8)
    assert score_batch(network, torch.from_numpy(network.input.fit(picture))[None]).shape == (1, 1)
    assert compute_heatmaps(network, [picture], [True])[0].evidence_for.shape == (70, 60)
    assert network.grid == (32, 32)


def test_a_yaml_says_only_in_what_it_differs_from_the_one_that_it_extends(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"extends: {CONFIGS}/xception.yaml\ninput: {{size: 128}}\n")
    mine, theirs = read_description(tmp_path / "mine.yaml"), describe_network("xception")
    assert mine == {**theirs, "input": {**theirs["input"], "size": 128}}
    (tmp_path / "circle.yaml").write_text("extends: circle.yaml\n")
    with pytest.raises(UserError, match="extends itself"):
        read_description(tmp_path / "circle.yaml")


def resnet_weights(path: Path) -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    weights = build_network(describe_network("baseline", pretrained=False)).backbone.get_submodule("net").state_dict()
    save_file(weights, path)
    return weights


def imported(monkeypatch: pytest.MonkeyPatch, *flags: object) -> None:
    monkeypatch.setattr(sys, "argv", ["import_weights", "--config", str(CONFIGS / "baseline.yaml"), *map(str, flags)])
    import_weights.main()


def test_imported_weights_are_pinned_and_training_begins_from_them(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"timm_resnet18.safetensors .* was not imported: get them from https://huggingface"):
        build_network(describe_network("baseline"))
    weights = resnet_weights(project / "downloaded.safetensors")
    imported(monkeypatch, "--weights", project / "downloaded.safetensors")
    network = build_network(describe_network("baseline"))
    assert torch.equal(network.backbone.get_parameter("net.conv1.weight"), weights["conv1.weight"])
    pins = yaml.safe_load((project / "model_test_train/pretrained.yaml").read_text())["pretrained"]
    assert len(pins["timm/resnet18"]) == 64
    save_file({**weights, "conv1.weight": weights["conv1.weight"] + 1}, project / "data/weights/timm_resnet18.safetensors")
    with pytest.raises(UserError, match=r"is not the file that model_test_train/pretrained.yaml pins"):
        build_network(describe_network("baseline"))


@pytest.mark.parametrize("model", ["efficientnet_lite0", "resnet18"])
@torch.no_grad()
def test_a_network_with_folded_batch_norms_says_the_same(model: str) -> None:
    net, pictures = timm.create_model(model, num_classes=0).eval(), torch.randn(2, 3, 64, 64)
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:  # as if it were trained
        for values, least, most in ((norm.running_mean, -0.5, 0.5), (norm.running_var, 0.5, 2), (norm.weight.data, 0.5, 1.5)):
            nn.init.uniform_(values, least, most)
    expected = net(pictures)
    fold_batch_norms(net)
    assert norms
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    assert torch.allclose(net(pictures), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_a_batch_norm_that_follows_no_convolution_is_named() -> None:
    with pytest.raises(UserError, match="fold_batch_norm must be false: no convolution comes before 'features.dense"):
        fold_batch_norms(timm.create_model("densenet121", num_classes=0))


def test_weights_of_another_network_are_not_imported(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = resnet_weights(project / "downloaded.safetensors")
    del weights["conv1.weight"]
    save_file(weights, project / "downloaded.safetensors")
    with pytest.raises(UserError, match=r"lacks 1 weights of timm/resnet18, the first is conv1.weight"):
        imported(monkeypatch, "--weights", project / "downloaded.safetensors")
    assert not (project / "data/weights").exists()


def test_where_no_hub_is_in_reach_the_way_on_is_said(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_reach(*names: object, **options: object) -> nn.Module:
        raise OSError("no route to host")

    monkeypatch.setattr("explain_deepfakes.model_test_train.networks.timm_features.download", out_of_reach)
    with pytest.raises(UserError, match=r"cannot be downloaded \(OSError\): get them from https://huggingface.*--weights"):
        imported(monkeypatch)


def test_phases_let_learn_what_they_name_at_their_own_rate() -> None:
    recipe = build_settings(Recipe, describe_network("baseline")["training"], "training")
    network = build_network(describe_network("baseline", pretrained=False))
    run = begin_run(network, recipe, steps_per_epoch=4, num_epochs=6)
    trainer = Trainer(run, recipe, seed=0)
    network.train()
    assert {name for name, weight in network.named_parameters() if weight.requires_grad} == {
        "head.to_logit.weight",
        "head.to_logit.bias",
    }
    assert not network.backbone.training
    assert trainer.describe_trainable() == "513 of 11,177,025 weights are trained (0.00459 %)"
    assert not trainer.enter_phase()
    run.epoch = 3
    assert trainer.enter_phase()
    network.train()
    learns = {name.split(".")[2] for name, weight in network.named_parameters() if weight.requires_grad and "net" in name}
    assert learns == {"layer3", "layer4"}
    assert network.backbone.get_submodule("net.layer4").training
    assert not network.backbone.get_submodule("net.layer2").training
    factor = learning_rate_factor(recipe, steps_per_epoch=4, num_epochs=6)
    rates = [recipe.lr * factor(step) for step in range(24)]
    assert max(rates[:12]) <= 0.001
    assert max(rates[12:]) <= 0.0001
    assert max(rates[12:]) == pytest.approx(0.0001)
    assert rates[11] < 0.0002  # the first phase has reached its low rate
    run.best_epoch, run.epoch = 1, 4
    assert not should_stop(run, recipe, patience=2)  # the last phase has lasted for one epoch


def test_a_phase_that_names_nothing_is_refused() -> None:
    description = describe_network("baseline", pretrained=False)
    description["training"]["phases"][0]["learns"] = ["decoder.*"]
    recipe = build_settings(Recipe, description["training"], "training")
    with pytest.raises(UserError, match=r"the network has no weights 'decoder\.\*'; an example of a weight is backbone\."):
        begin_run(build_network(description), recipe, 1, 1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, "CLIP"]:
    """Our CLIP network, and open_clip's model with the same random weights."""
    import open_clip

    torch.manual_seed(0)
    plain = open_clip.create_model("ViT-B-32-quickgelu").eval()
    file = tmp_path_factory.mktemp("clip") / "weights.safetensors"
    save_file(plain.state_dict(), file)
    return build_network(describe_network("clip", pretrained=str(file))).eval(), plain


def test_clip_agrees_with_a_plain_forward_of_both_towers(clip: tuple[Network, "CLIP"]) -> None:
    import open_clip

    network, plain = clip
    pixels = torch.randn(2, 3, 224, 224)
    detector = describe_network("clip")["detector"]
    sentences = [*detector["real"], *detector["fake"]]
    with torch.inference_mode():
        images = nn.functional.normalize(plain.encode_image(pixels), dim=-1)
        texts = nn.functional.normalize(plain.encode_text(open_clip.get_tokenizer("ViT-B-32")(sentences)), dim=-1)
        _, likenesses = network.forward_with_aux(pixels)
    assert (likenesses - images @ texts.T).abs().max() < 1e-5
    assert network.aux_output_names == tuple(
        [f"real: {text}" for text in detector["real"]] + [f"fake: {text}" for text in detector["fake"]]
    )


def test_looking_at_attention_does_not_change_what_clip_says(clip: tuple[Network, "CLIP"]) -> None:
    network, _ = clip
    pixels = torch.randn(1, 3, 224, 224)

    def plainly(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, scale: float | None = None) -> torch.Tensor:
        return (q @ k.mT * (scale or q.shape[-1] ** -0.5)).softmax(-1) @ v

    with torch.no_grad():
        expected = network(pixels)
        with AttentionOverride(plainly):
            looked_at = network(pixels)
    assert torch.allclose(looked_at, expected, atol=1e-5)


def test_relevancy_of_clip_is_that_of_the_published_rules(clip: tuple[Network, "CLIP"]) -> None:
    """Compute R in full matrices from the kept attention and its gradients."""
    network, _ = clip
    pixels = torch.randn(1, 3, 224, 224)
    kept: list[torch.Tensor] = []

    def keeping(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, scale: float | None = None) -> torch.Tensor:
        kept.append((q @ k.mT * (scale or q.shape[-1] ** -0.5)).softmax(-1).requires_grad_())
        return kept[-1] @ v

    with AttentionOverride(keeping):
        slopes = torch.autograd.grad(network(pixels).sum(), kept)
    relevancy = torch.eye(50)
    for weights, slope in zip(kept, slopes, strict=True):
        relevancy = relevancy + (weights * slope).detach().clamp(min=0)[0].mean(0) @ relevancy
    computed = token_relevancy(network, pixels, tokens=CLASS_TOKEN_FIRST).for_fake[0]
    assert (computed - relevancy[0, 1:]).abs().max() < 5e-5 * relevancy[0, 1:].max()


def test_the_bands_of_f3net_are_the_picture_taken_apart() -> None:
    decompose = FrequencyDecomposition(64)
    nn.init.zeros_(decompose.shift)
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        low, middle, high = decompose(pixels).chunk(3, 1)
    assert torch.allclose(low + middle + high, pixels, atol=1e-4)
    spectrum = np.abs(scipy.fft.dctn(low[0, 0].numpy(), norm="ortho"))
    far = np.add.outer(np.arange(64), np.arange(64)) > 0.07 * 127
    assert spectrum[far].max() < 1e-4 < spectrum[~far].max()


def test_of_f3net_the_band_that_decides_is_named() -> None:
    torch.manual_seed(0)
    network = build_network(small_f3net()).eval()
    stems: Any = network.backbone.stems
    nn.init.zeros_(stems[1][0].weight)  # local statistics have no effect
    with torch.no_grad():
        stems[0][0].weight[:, :6] = 0  # nor has anything but the high frequencies
    concepts = concept_heatmaps(network, np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8))
    assert {name: round(weight, 6) for name, weight, _ in concepts if weight} == {"high frequencies": 1.0}
    assert len(concepts) == 9
    assert all(heat.shape == (60, 60) for _, _, heat in concepts)


def small_f3net() -> Description:
    description = describe_network("f3net", pretrained=False, middle_blocks=1)
    description["input"]["size"] = 64
    return description


def test_of_clip_each_sentence_has_its_likeness_and_its_places(clip: tuple[Network, "CLIP"]) -> None:
    network, _ = clip
    picture = np.random.default_rng(0).integers(0, 255, (60, 50, 3), np.uint8)
    concepts = concept_heatmaps(network, picture)
    scores = score_batch(network, torch.from_numpy(network.input.fit(picture))[None])[0, 1:]
    assert tuple(name for name, _, _ in concepts) == network.aux_output_names
    assert [weight for _, weight, _ in concepts] == pytest.approx(scores.tolist(), abs=1e-5)
    assert all(heat.shape == (60, 50) and heat.max() > 0 for _, _, heat in concepts)


def test_the_statistics_of_f3net_are_the_strength_of_each_band_around_a_place() -> None:
    statistics = LocalStatistics()
    nn.init.zeros_(statistics.shift)
    pixels = torch.randn(1, 3, 40, 40)
    with torch.no_grad():
        computed = statistics(pixels)[0]
    window = pixels[0].mean(0)[6:16, 8:18].numpy()  # it begins 10 and 12 pixels into the picture with its border
    spectrum = np.abs(scipy.fft.dctn(window, norm="ortho"))
    distance = np.add.outer(np.arange(10), np.arange(10)) / 19
    expected = [np.log10(spectrum[(distance >= b / 6) & (distance < (b + 1) / 6)].sum() + 1e-6) for b in range(6)]
    assert computed[:, 5, 6].tolist() == pytest.approx(expected, abs=1e-3)
