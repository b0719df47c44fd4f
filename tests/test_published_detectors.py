"""Weights of published detectors give the published logits, and every entry of the catalogue is complete.

The references in published_detectors.py are written without our code. docs/detectors.md has comparisons with the authors' code.
"""

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import published_detectors as published
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from explain_deepfakes.explain_model.maps.heatmaps import compute_heatmaps
from explain_deepfakes.model_test_train.networks import detector_files
from explain_deepfakes.model_test_train.networks.catalogue import (
    CATALOGUE,
    CatalogueEntry,
    catalogue_names,
    find_entry,
    load_published,
)
from explain_deepfakes.model_test_train.networks.checkpoint import load_checkpoint
from explain_deepfakes.model_test_train.networks.network import empty_network
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.memory import keep_memory
from explain_deepfakes.pipeline.project import CODE

TINY_CLIP = {"embed_dim": 128, "depth": 2, "num_heads": 2}  # options of timm's Vision Transformer
REFERENCES: dict[str, tuple[Callable[[], published.Published], dict[str, object]]] = {
    "deepfakebench_xception": (published.xception, {}),
    "deepfakebench_spsl": (published.spsl, {}),
    "deepfakebench_f3net": (published.f3net, {}),
    "deepfakebench_ucf": (published.ucf, {}),
    "deepfakebench_meso4": (published.meso4, {}),
    "deepfakebench_efficientnet_b4": (
        lambda: published.efficientnet("backbone.efficientnet", "backbone.last_layer", 2, padded_stem=False),
        {},
    ),
    "sbi_efficientnet_b4": (lambda: published.efficientnet("net", "net._fc", 2), {}),
    "icpr2020_b4_dfdc": (lambda: published.efficientnet("efficientnet", "classifier", 1), {}),
    "icpr2020_attention_b4_dfdc": (
        lambda: published.efficientnet("efficientnet", "classifier", 1, attention="efficientnet.attconv"),
        {},
    ),
    "deepfakebench_clip": (lambda: published.clip("backbone.", "head", 128, 2, 16), TINY_CLIP),
    "gend_clip_l14": (
        lambda: published.clip("feature_extractor.vision_model.", "model.linear", 128, 2, 14, normalised=True),
        TINY_CLIP,
    ),
    "effort_clip_l14": (lambda: published.effort(128, 2, 14), TINY_CLIP),
    "classnseg": (published.classnseg, {}),
}


def entry_with(name: str, options: dict[str, object]) -> CatalogueEntry:
    """The entry, with a smaller backbone."""
    entry = find_entry(name)
    description = copy.deepcopy(entry.description)
    description["backbone"] |= options
    return CatalogueEntry(entry.path, description, entry.published)


@pytest.mark.parametrize("name", REFERENCES)
def test_published_weights_give_the_published_logits(name: str) -> None:
    keep_memory()
    torch.manual_seed(0)
    build, options = REFERENCES[name]
    weights, reference = build()
    network = load_published(entry_with(name, options), weights, "the file")
    pixels = published.different_pixels(3, network.input.size)
    with torch.inference_mode():
        expected = to_logit(reference(pixels))
        difference = (network(pixels) - expected).abs().max().item()
    spread = expected.std().item()
    assert spread > 1e-3, "the pictures must differ to the network, else nothing is shown"
    assert difference < 1e-4 * max(1.0, spread)


def test_a_network_that_segments_is_explained_by_its_published_segmentation() -> None:
    torch.manual_seed(0)
    weights, _ = published.classnseg()
    network = load_published(find_entry("classnseg"), weights, "the file")
    crop = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    expected = published.classnseg_mask(weights, network.input.prepare([crop]))[0].numpy()
    assert expected.std() > 1e-3
    (heatmaps,) = compute_heatmaps(network, [crop], [True])
    assert heatmaps.unscaled == pytest.approx(expected, abs=1e-5)


def to_logit(logits: Tensor) -> Tensor:
    return logits if logits.ndim == 1 else logits[:, 1] - logits[:, 0]


@pytest.mark.parametrize("name", ["deepfakebench_meso4", "sbi_efficientnet_b4"])
def test_weights_that_do_not_fit_are_refused_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = REFERENCES[name][0]().weights
    lacking = {key: value for key, value in weights.items() if "conv" not in key}
    for wrong, message in (
        (lacking, "tensors are missing, for example"),
        (weights | {"extra.weight": torch.zeros(1)}, "1 tensors are unknown, for example extra.weight"),
        (weights | {max(weights): torch.zeros(7, 7)}, "has the shape"),
    ):
        torch.save(wrong, tmp_path / "weights.pth")
        result = fetch(name, "--weights", tmp_path / "weights.pth", "--output", tmp_path / "it.safetensors")
        assert (result.returncode, len(result.stderr.splitlines())) == (2, 1), result.stderr
        assert message in result.stderr, result.stderr
        assert not (tmp_path / "it.safetensors").exists()


def fetch(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, CODE / "model_test_train/fetch_detector.py", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


def test_files_that_are_no_weights_are_refused_in_one_line(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "hook": Malicious()}, tmp_path / "code.pth")
    torch.save(published.meso4().weights, tmp_path / "whole.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:5000])
    (tmp_path / "page.pth").write_text("<html>Quota exceeded</html>")
    for name in ("code", "cut", "page"):
        result = fetch("deepfakebench_meso4", "--weights", tmp_path / f"{name}.pth", "--output", tmp_path / "it.safetensors")
        assert (result.returncode, len(result.stderr.splitlines())) == (2, 1), result.stderr
        assert f"{name}.pth cannot be read as weights" in result.stderr
        assert "executed" not in result.stdout
    assert not (tmp_path / "it.safetensors").exists()


def test_a_detector_of_two_files_needs_both(tmp_path: Path) -> None:
    torch.save({"encoder.0.weight": torch.zeros(1)}, tmp_path / "encoder_46.pth")
    (tmp_path / "mine.yaml").write_text(
        (CATALOGUE / "classnseg.yaml")
        .read_text()
        .replace("../common", str(CATALOGUE / "../common"))
        .replace(" sha256:", " sha256: null #")
    )
    result = fetch(tmp_path / "mine.yaml", "--weights", tmp_path / "encoder_46.pth", "--output", tmp_path / "it.safetensors")
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1), result.stderr
    assert "consists of 2 files; name encoder_46.pt and decoder_46.pt" in result.stderr


def test_a_file_with_another_hash_than_the_published_one_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "weights.pth")
    result = fetch("icpr2020_b4_dfdc", "--weights", tmp_path / "weights.pth", "--output", tmp_path / "it.safetensors")
    assert result.returncode == 2
    assert "is not the file that the authors of icpr2020_b4_dfdc published: its SHA-256 is" in result.stderr


def test_what_cannot_be_downloaded_is_named_with_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable)
    for name, reason in (("gend_clip_l14", "OSError"), ("efficient_vit", "OSError"), ("sbi_efficientnet_b4", "by a command")):
        entry = find_entry(name)
        with pytest.raises(UserError, match=reason) as error, detector_files.weights_of(entry, None):
            pass
        assert entry.published.weights.page in str(error.value)
        assert f"explain-deepfakes fetch {name} --weights FILE" in str(error.value)


def test_a_fetched_detector_scores_as_the_published_one_does(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights, reference = published.meso4()
    torch.save({"state_dict": {f"module.{name}": value for name, value in weights.items()}}, tmp_path / "meso4.pth")
    result = fetch("deepfakebench_meso4", "--weights", tmp_path / "meso4.pth", "--output", tmp_path / "it.safetensors")
    assert result.returncode == 0, result.stderr
    assert "Licence: CC BY-NC 4.0" in result.stdout
    network, card = load_checkpoint(tmp_path / "it.safetensors", torch.device("cpu"))
    crop = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    expected = reference((torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.5)
    with torch.inference_mode():
        assert network(network.input.prepare([crop])).item() == pytest.approx(to_logit(expected).item(), abs=1e-4)
    assert card.preprocessing["extract_crops"]["align"] == "arcface5"
    assert (card.trained_on, card.aggregation, card.refusal) == (["FACEFORENSICS"], "mean", None)


@pytest.mark.parametrize("name", catalogue_names())
def test_every_entry_names_what_a_user_must_know(name: str) -> None:
    """The network itself is built only where it is small."""
    entry = find_entry(name)
    assert entry.published.weights.page.startswith("https://")
    assert all((entry.published.metrics, entry.published.drift, entry.published.licence))
    assert entry.published.crops.min_size == 1


def test_the_list_shows_every_detector_with_its_status(capsys: pytest.CaptureFixture[str]) -> None:
    detector_files.list_detectors()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == catalogue_names()
    assert all(any(status in line for status in ("installed", "downloadable", "by hand")) for line in lines[:-1])
    with pytest.raises(UserError, match="'unheard_of' is not in the catalogue"):
        find_entry("unheard_of")


def test_a_detector_that_is_not_in_the_catalogue_needs_one_yaml_and_no_code(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        f"""
extends: {CODE}/model_test_train/configs/common/published.yaml
backbone: {{name: timm/resnet10t, pretrained: false}}
detector: {{name: linear, dropout: 0.0}}
published:
  title: Mine
  citation: none
  licence: MIT
  trained_on: [MY_DATA]
  metrics: none
  drift: none
  weights: {{page: "https://example.org", file: mine.pth}}
  key_map:
    rename: {{'features\\.(.*)': 'backbone.net.\\1', 'classifier\\.(.*)': 'head.to_logit.\\1'}}
    fake_logit: 0
"""
    )
    network = empty_network(find_entry(str(tmp_path / "mine.yaml")).description)
    weights = {name.replace("backbone.net.", "features."): value for name, value in network.state_dict().items()}
    for kind in ("weight", "bias"):
        row = weights.pop(f"head.to_logit.{kind}")
        weights[f"classifier.{kind}"] = torch.cat((row, 0 * row))  # the first logit is that of fakes
    torch.save(weights, tmp_path / "mine.pth")
    result = fetch(tmp_path / "mine.yaml", "--weights", tmp_path / "mine.pth", "--output", tmp_path / "it.safetensors")
    assert result.returncode == 0, result.stderr
    assert torch.equal(
        load_file(tmp_path / "it.safetensors")["head.to_logit.weight"], network.state_dict()["head.to_logit.weight"]
    )
