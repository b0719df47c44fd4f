"""Diverging training ends with an error, and its earlier checkpoints remain usable."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from little_crops import project_of_crops
from safetensors.torch import load_file, save_file

from explain_deepfakes.model_test_train.networks.checkpoint import are_finite, load_checkpoint, read_card, save_checkpoint
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.project import CODE

TRAIN = [sys.executable, str(CODE / "model_test_train/train_model.py")]


def train(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*TRAIN, *flags], cwd=folder, capture_output=True, text=True)


def set_rate(folder: Path, rate: float) -> None:
    description = yaml.safe_load((folder / "tiny.yaml").read_text())
    description["training"] |= {"lr": rate, "clip_gradient": 0, "warmup_epochs": 0.0}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(description))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("diverging") / "project"
    return project_of_crops(folder, 4, 4, {}, {"num_epochs": 3, "patience": 3, "save_seconds": 0})


def test_training_that_diverges_ends_in_one_line_and_saves_only_numbers(project: Path) -> None:
    set_rate(project, 1e30)
    for _ in range(2):  # the second run starts from what the first one saved
        result = train(project)
        assert result.returncode == 2
        assert result.stderr.splitlines()[-1].startswith("error: training diverged in step "), result.stderr
        assert "Traceback" not in result.stderr
        for state in project.glob("data/runs/*/state.pt"):
            saved = torch.load(state, weights_only=True)
            assert are_finite([*saved["network"].values(), *saved["average"].values()])
    assert not (project / "data/models/best.safetensors").exists()


def test_a_state_that_diverged_is_not_resumed_from(project: Path) -> None:
    set_rate(project, 1e-3)
    description = project / "tiny.yaml"
    result = train(project, "--num_epochs", "1")
    assert result.returncode == 0, result.stderr
    network, card = load_checkpoint(project / "data/models/best.safetensors", torch.device("cpu"))
    for weight in network.parameters():
        weight.data.fill_(torch.nan)
    save_checkpoint(project / "diverged.safetensors", network, card)
    with pytest.raises(UserError, match=r"diverged\.safetensors has weights .* not finite"):
        load_checkpoint(project / "diverged.safetensors", torch.device("cpu"))
    tested = [sys.executable, str(CODE / "model_test_train/test_model.py"), "--model_path", "diverged.safetensors"]
    result = subprocess.run(tested, cwd=project, capture_output=True, text=True)
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
    assert description.is_file()


def test_the_card_of_a_checkpoint_needs_no_weights(project: Path) -> None:
    weights = load_file(project / "data/models/best.safetensors")
    save_file(weights, project / "no_card.safetensors")
    assert read_card(project / "data/models/best.safetensors").threshold
    with pytest.raises(UserError, match="not a checkpoint"):
        read_card(project / "no_card.safetensors")
