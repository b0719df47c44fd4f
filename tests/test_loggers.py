"""The logs of training: the run folder, the metrics of DVCLive and TensorBoard, and the checks of `--sanity`."""

import json
import sys
from pathlib import Path

import cv2
import pytest
import torch
import yaml
from little_crops import project_of_crops
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from warm_commands import run_warm

from explain_deepfakes.model_test_train import train_model
from explain_deepfakes.model_test_train.networks.checkpoint import load_checkpoint
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.project import CODE

RECIPE = {"warmup_epochs": 0.0, "lr": 0.005}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("shown") / "project"
    project_of_crops(folder, 3, 6, RECIPE, {"num_epochs": 3, "patience": 3, "tensorboard": True})
    result = run_warm(CODE / "model_test_train/train_model.py", [], folder)
    return folder, result.stdout + result.stderr


def run_folder(project: Path) -> Path:
    (folder,) = (project / "data/runs").iterdir()
    return folder


def test_the_runs_folder_can_be_read(trained: tuple[Path, str]) -> None:
    project, output = trained
    folder = run_folder(project)
    assert folder.name.startswith("tiny_All_")
    log = (folder / "run.log").read_text().splitlines()
    assert [line.split("  ")[1] for line in log if "train_loss" in line] == ["epoch 1", "epoch 2", "epoch 3"]
    assert all("pictures/s" in line for line in log if "train_loss" in line)
    assert "36 of 36 pictures" in output  # the progress of an epoch
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["train"]["num_epochs"] == 3
    assert config["training"]["lr"] == RECIPE["lr"]
    assert not (folder / "state.pt").exists()


def test_the_best_and_the_last_checkpoint_are_named_as_published_and_nothing_else_is_kept(trained: tuple[Path, str]) -> None:
    project, _ = trained
    folder, best_epoch = run_folder(project), json.loads((project / "data/models/metrics.json").read_text())["best_epoch"]
    named = {file.name for file in folder.glob("tiny_checkpoint*")}
    assert named == {f"tiny_checkpoint{epoch}_All.safetensors" for epoch in {best_epoch, 3}}
    assert (folder / "last.safetensors").resolve().name == "tiny_checkpoint3_All.safetensors"
    assert (folder / "best.safetensors").read_bytes() == (project / "data/models/best.safetensors").read_bytes()
    _, card = load_checkpoint(folder / "last.safetensors", torch.device("cpu"))
    assert (card.name, card.provenance["epoch"]) == ("tiny_checkpoint3_All", 3)


def test_dvclives_metrics_are_those_of_the_best_epoch_and_a_table_for_each(trained: tuple[Path, str]) -> None:
    models = trained[0] / "data/models"
    metrics = json.loads((models / "metrics.json").read_text())
    losses = [float(line.split("\t")[1]) for line in (models / "plots/metrics/val_loss.tsv").read_text().splitlines()[1:]]
    assert len(losses) == metrics["epochs"] == 3
    assert metrics["val_loss"] == min(losses) == losses[metrics["best_epoch"] - 1]
    assert {"train_loss", "verdict_loss", "patch_loss", "attention_loss", "val_auc", "threshold"} < set(metrics)


def test_tensorboard_has_losses_rate_histograms_verdicts_and_load(trained: tuple[Path, str]) -> None:
    events = EventAccumulator(str(run_folder(trained[0]))).Reload()
    tags = events.Tags()
    assert {"train_loss", "val_loss", "learning_rate", "pictures_a_second", "machine/memory_mb"} < set(tags["scalars"])
    assert [event.step for event in events.Scalars("train_loss")] == [1, 2, 3]
    of_weights, of_gradients = ({t for t in tags["histograms"] if t.startswith(kind)} for kind in ("weights/", "gradients/"))
    assert len(of_weights) == len(of_gradients) > 20
    assert {"validation/confusion", "validation/faces"} == set(tags["images"])


def run_sanity_checks(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **settings: object
) -> str:
    """Run `--sanity` and return its output."""
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["train"] |= settings
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "argv", ["train_model.py", "--sanity"])
    try:
        train_model.main()
    except UserError as error:
        return capsys.readouterr().out + str(error)
    return capsys.readouterr().out


def test_before_a_long_run_every_passed_check_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = project_of_crops(tmp_path / "project", 3, 6, RECIPE, {})
    output = run_sanity_checks(project, monkeypatch, capsys)
    assert "FAILED" not in output
    assert "18 of 18 groups can all be read" in output
    assert "18 of 36 training pictures are fake (50%)" in output
    assert "a gradient reaches each of" in output
    picture = cv2.imread(str(run_folder(project) / "batch.png"))
    assert picture.shape[1] == 8 * (32 + 6)  # framed, eight in a row
    assert not (project / "data/models").exists()


def test_before_a_long_run_a_broken_crop_a_lopsided_corpus_and_a_network_that_cannot_learn_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = {"lr": 1e-9, "paired": False, "rebalancing_real": 0.01, "batch_size": 4}
    project = project_of_crops(tmp_path / "project", 3, 20, recipe, {})
    broken = sorted((project / "data/crops/training_set/FaceSwap").rglob("*.png"))[3]
    broken.write_bytes(b"no picture")
    output = run_sanity_checks(project, monkeypatch, capsys, seed=1)
    assert "cannot be read; the first" in output
    assert broken.name in output
    assert "60 of 63 training pictures are fake (95%); see training.paired" in output
    assert "the learning rate may be too low" in output
    assert output.endswith("3 sanity checks failed, see above")
