"""Every entry of the catalogue works in every command: it is scored, saved, explained, exported, served and combined."""

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch

from explain_deepfakes.explain_model.maps.heatmaps import compute_heatmaps
from explain_deepfakes.model_test_train.evaluation.predictor import load_predictor
from explain_deepfakes.model_test_train.networks.catalogue import CatalogueEntry, catalogue_names, find_entry, make_card
from explain_deepfakes.model_test_train.networks.checkpoint import load_checkpoint, save_checkpoint
from explain_deepfakes.model_test_train.networks.network import Network, empty_network
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.memory import keep_memory
from explain_deepfakes.serving.examination.examiner import CalibratedVerdict, Examiner
from explain_deepfakes.serving.models.onnx_backend import TOLERANCE, create_runner, export_onnx

TRANSFORMER = {"backbone": {"embed_dim": 64, "depth": 2, "num_heads": 2}}
EFFICIENTNET = {"backbone": {"name": "efficientnet-b0", "trainable_blocks": 16}}
XCEPTION = {"input": {"size": 128}}
Description = dict[str, dict[str, object]]
SMALLER: dict[str, Description] = {
    "cross_efficient_vit": {"detector": {"depth": 1, "depths": [1, 1], "cross_depth": 1}},
    "deepfakebench_clip": TRANSFORMER,
    "deepfakebench_efficientnet_b4": EFFICIENTNET,
    "deepfakebench_f3net": XCEPTION,
    "deepfakebench_spsl": XCEPTION,
    "deepfakebench_ucf": XCEPTION,
    "deepfakebench_xception": XCEPTION,
    "dfdc_winner_efficientnet_b7": {"backbone": {"name": "timm/tf_efficientnet_b0"}},
    "efficient_vit": {"detector": {"depth": 2}},
    "effort_clip_l14": TRANSFORMER,
    "gend_clip_l14": TRANSFORMER,
    "gend_dinov3_l16": TRANSFORMER,
    "gend_pe_l14": TRANSFORMER,
    "icpr2020_attention_b4_dfdc": EFFICIENTNET,
    "icpr2020_attention_b4_ffpp": EFFICIENTNET,
    "icpr2020_b4_dfdc": EFFICIENTNET,
    "icpr2020_b4_ffpp": EFFICIENTNET,
    "sbi_efficientnet_b4": EFFICIENTNET,
    "universal_fake_detect": {"backbone": {"name": "clip/ViT-S-32-alt"}},
}
# Exporting takes long. The graphs of the others have the same operations.
EXPORTED = (
    "classnseg",
    "cross_efficient_vit",
    "deepfakebench_f3net",
    "deepfakebench_spsl",
    "efficient_vit",
    "icpr2020_attention_b4_dfdc",
)
RNG = np.random.default_rng(0)
CROPS = [RNG.integers(0, 255, (90, 80, 3), np.uint8), np.full((90, 80, 3), 20, np.uint8)]
CROPS[1][50:70, 10:40] = 250


class Installed(NamedTuple):
    network: Network
    checkpoint: Path
    probabilities: np.ndarray  # of CROPS


@pytest.fixture(scope="module", params=catalogue_names())
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """An entry with random weights, smaller than the published network where that one is large."""
    keep_memory()
    torch.manual_seed(1)
    entry = find_entry(request.param)
    description = copy.deepcopy(entry.description)
    for section, settings in SMALLER.get(entry.name, {}).items():
        description[section] |= settings
    network = empty_network(description).eval()
    checkpoint = tmp_path_factory.mktemp("catalogue") / f"{entry.name}.safetensors"
    save_checkpoint(checkpoint, network, make_card(CatalogueEntry(entry.path, description, entry.published), []))
    with torch.inference_mode():
        probabilities = network(network.input.prepare(CROPS)).sigmoid().numpy()
    return Installed(network, checkpoint, probabilities)


def test_a_picture_gets_the_same_score_alone_and_from_the_checkpoint(installed: Installed) -> None:
    network, checkpoint, probabilities = installed
    assert probabilities.shape == (2,)
    loaded, _ = load_checkpoint(checkpoint, torch.device("cpu"))
    with torch.inference_mode():
        alone = [loaded(network.input.prepare([crop])).sigmoid().item() for crop in CROPS]
    assert alone == pytest.approx(probabilities, abs=1e-4)


def test_it_is_explained_by_a_heatmap(installed: Installed) -> None:
    first, second = (compute_heatmaps(installed.network, CROPS, [True, False]) for _ in range(2))
    for heat, again in zip(first, second, strict=True):
        assert heat.evidence_for.shape == (90, 80)
        assert 0 <= heat.evidence_for.min() <= heat.evidence_for.max() <= 1
        assert np.array_equal(heat.evidence_for, again.evidence_for)
        assert heat.evidence_against is not None
        assert max(np.ptp(heat.evidence_for), np.ptp(heat.evidence_against)) > 0, "the map does not say where"


@pytest.mark.parametrize("installed", EXPORTED, indirect=True)
def test_its_onnx_export_gives_the_same_scores(installed: Installed) -> None:
    network = installed.network
    pictures = torch.from_numpy(np.stack([network.input.fit(crop) for crop in CROPS]))
    run = create_runner(export_onnx(installed.checkpoint.stem, network, {}), 1)
    assert run(pictures) == pytest.approx(installed.probabilities, abs=TOLERANCE)


def test_it_is_served_with_the_settings_of_its_card(installed: Installed, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "face.png"), CROPS[0][..., ::-1])
    examiner = Examiner.load(installed.checkpoint, "cpu")
    published = find_entry(installed.checkpoint.stem).published
    (verdict,) = examiner.examine_crops([tmp_path / "face.png"])
    assert isinstance(verdict, CalibratedVerdict)
    assert verdict.raw == pytest.approx(installed.probabilities[0], abs=1e-4)
    assert (examiner.extraction, examiner.rule.aggregation) == (published.crops, published.aggregation)


def test_it_is_a_member_of_an_ensemble(installed: Installed, tmp_path: Path) -> None:
    """Its member is a copy of itself, so the average of both is its own score."""
    record = {"file": str(installed.checkpoint), "sha256": content_hash(installed.checkpoint)}
    _, card = load_checkpoint(installed.checkpoint, torch.device("cpu"))
    ensemble = {"members": {"one": record, "other": record}, "temperatures": [1.0, 1.0], "way": "average", "agreement": 0.6}
    ensemble |= {"learnt": {"weights": [0.5, 0.5], "scale": 1.0}, "validation": {}, "held_out": True, "card": asdict(card)}
    (tmp_path / "ensemble.json").write_text(json.dumps(ensemble))
    fused, by_member = load_predictor(tmp_path / "ensemble.json", torch.device("cpu")).predict(CROPS)
    assert fused == pytest.approx(installed.probabilities, abs=1e-4)
    assert by_member.shape == (2, 2)
