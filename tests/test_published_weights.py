"""Weights of the published implementation give the same logits in ours, and verdicts on the command line.

PICTURES=32 sets the number of pictures.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import torch
from published_network import PublishedNetwork
from torch import Tensor, nn

from explain_deepfakes.explain_model.maps.relevancy import AttentionOverride, RelevancyRows
from explain_deepfakes.model_test_train.networks.network import Description, build_network, read_description
from explain_deepfakes.model_test_train.networks.pretrained import read_weights
from explain_deepfakes.model_test_train.networks.published_weights import load_hybrid
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.memory import keep_memory
from explain_deepfakes.pipeline.project import CODE

PICTURES = int(os.environ.get("PICTURES", 2))
CONFIG = CODE / "model_test_train/configs/explained_architecture.yaml"


def describe_network(**backbone: object) -> Description:
    description = read_description(CONFIG)
    return {**description, "backbone": {**description["backbone"], **backbone}}


def different_pictures(count: int) -> Tensor:
    """Draw coarse patterns in different colours; a network with random weights gives the same logit for all noise."""
    coarse = 255 * torch.rand(count, 3, 7, 7) * torch.rand(count, 3, 1, 1)
    return nn.functional.interpolate(coarse, size=224, mode="nearest")


def settle_norms(network: PublishedNetwork) -> PublishedNetwork:
    """Set the statistics of the norms, as in a trained network; otherwise the last features vanish."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(different_pictures(3))
    return network.eval()


def logits_of(network: nn.Module, pictures: Tensor) -> Tensor:
    with torch.inference_mode():
        return torch.cat([network(batch).flatten() for batch in pictures.split(4)])


@pytest.mark.parametrize("variant", ["b0", "b7"])
def test_published_weights_give_the_published_logits_whether_or_not_somebody_looks(variant: str, tmp_path: Path) -> None:
    keep_memory()
    torch.manual_seed(0)
    published = settle_norms(PublishedNetwork(variant))
    torch.save(published.state_dict(), tmp_path / "published")
    ours = build_network(describe_network(name=f"efficientnet-{variant}")).eval()
    load_hybrid(ours, read_weights(tmp_path / "published"))
    pictures = different_pictures(PICTURES)
    expected = logits_of(published, pictures)
    assert expected.std() > 5e-5, "the pictures must differ to the network, else nothing is shown"
    assert (logits_of(ours, pictures) - expected).abs().max() < 1e-5
    with AttentionOverride(RelevancyRows().attend), torch.no_grad():  # as an explanation does
        looked_at = torch.cat([ours(batch).flatten() for batch in pictures.split(4)])
    assert (looked_at - expected).abs().max() < 1e-5


def test_a_checkpoint_of_several_gpus_and_other_things_is_read(tmp_path: Path) -> None:
    weights = PublishedNetwork().state_dict()
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in weights.items()}}, tmp_path / "weights")
    ours = build_network(describe_network())
    load_hybrid(ours, read_weights(tmp_path / "weights"))
    assert torch.equal(ours.head.get_parameter("cls_token"), weights["cls_token"])


def test_weights_that_lack_something_or_are_none_are_refused_in_words(tmp_path: Path) -> None:
    weights = PublishedNetwork().state_dict()
    del weights["cls_token"]
    with pytest.raises(UserError, match=r"do not fit the network that --config describes: .*head\.cls_token"):
        load_hybrid(build_network(describe_network()), weights)
    torch.save({"epoch": 3}, tmp_path / "weights")
    with pytest.raises(UserError, match="holds no state dict"):
        read_weights(tmp_path / "weights")
    (tmp_path / "text").write_text("<html>Too many people have downloaded this file</html>")
    with pytest.raises(UserError, match="text cannot be read as weights"):
        read_weights(tmp_path / "text")


def test_imported_weights_score_crops_as_the_published_network_does(tmp_path: Path) -> None:
    torch.manual_seed(1)
    published = settle_norms(PublishedNetwork())
    torch.save(published.state_dict(), tmp_path / "efficientnetB0_checkpoint72_All")
    crop = different_pictures(1)[0].permute(1, 2, 0).byte().numpy()  # BGR, as OpenCV writes it
    cv2.imwrite(str(tmp_path / "face.png"), crop)
    checkpoint = tmp_path / "imported.safetensors"
    flags = ["--weights", tmp_path / "efficientnetB0_checkpoint72_All", "--config", CONFIG, "--output", checkpoint]
    output = run("-m", "explain_deepfakes.model_test_train.import_checkpoint", *flags)
    assert "efficientnetB0_checkpoint72_All" in output
    assert "training data of this network is unknown" in output
    (verdict,) = json.loads(
        run(CODE / "serving/predict.py", "--model_path", checkpoint, "--crops", "--json", tmp_path / "face.png")
    )
    expected = logits_of(published, torch.from_numpy(crop).permute(2, 0, 1)[None].float()).sigmoid().item()
    assert verdict["fake_probability"] == pytest.approx(expected, abs=1e-5)
    assert verdict["fake_probability_raw"] == verdict["fake_probability"]
    assert verdict["verdict"] == ("fake" if expected > 0.55 else "real")
    assert "training data of this network is unknown" in verdict["warning"]


def run(*command: object) -> str:
    return subprocess.run([sys.executable, *map(str, command)], check=True, capture_output=True, text=True).stdout
