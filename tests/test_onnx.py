"""Every network gives the same scores as ONNX as in PyTorch: in a program without PyTorch and in the server."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import Project
from little_server import serving

from explain_deepfakes.model_test_train.evaluation.predictor import load_predictor
from explain_deepfakes.model_test_train.networks.network import build_network, read_description
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.project import CODE
from explain_deepfakes.serving.models import onnx_backend
from explain_deepfakes.serving.models.onnx_backend import TOLERANCE, create_runner, export_onnx

CONFIGS = sorted((CODE / "model_test_train/configs/demo").glob("*.yaml"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_each_published_network_gives_the_same_scores_as_onnx(config: Path) -> None:
    torch.manual_seed(0)
    network = build_network(read_description(config)).eval()
    size = network.input.size
    pictures = torch.from_numpy(np.random.default_rng(9).integers(0, 256, (5, size, size, 3), np.uint8))
    with torch.no_grad():
        expected = network(network.input.normalise(pictures)).sigmoid().numpy()
    probabilities = create_runner(export_onnx(config.stem, network, {}), 1)(pictures)
    assert probabilities == pytest.approx(expected, abs=TOLERANCE)


def test_a_program_without_pytorch_gets_the_same_from_the_file(finished: Project, tmp_path: Path) -> None:
    output = finished.stage("serving/onnx_export.py", "--output", tmp_path / "best.onnx")
    assert "drawings only" in output
    session = onnxruntime.InferenceSession(tmp_path / "best.onnx")
    card = json.loads(session.get_modelmeta().custom_metadata_map["card"])
    assert "drawings only" in card["warning"]
    predictor = load_predictor(finished.folder / "data/models/best.safetensors", torch.device("cpu"))
    crop = np.random.default_rng(0).integers(0, 256, (97, 97, 3), np.uint8)
    (network,) = predictor.networks.values()
    (probabilities,) = session.run(None, {"pictures": network.input.fit(crop)[None]})
    assert probabilities[0] == pytest.approx(predictor.predict([crop])[0][0], abs=TOLERANCE)


def test_what_would_say_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_network(read_description(CODE / "model_test_train/configs/demo/meso4.yaml")).eval()
    monkeypatch.setattr(onnx_backend, "TOLERANCE", -1.0)
    with pytest.raises(UserError, match="the ONNX export of meso4 differs from the network"):
        export_onnx("meso4", network, {})


def test_the_server_by_onnxruntime_finds_what_the_command_finds(finished: Project, fake: Path, tmp_path: Path) -> None:
    (expected,) = json.loads(finished.stage("serving/predict.py", fake, "--json", "--demo"))
    with serving(finished.folder, "--backend", "onnxruntime", "--workers", 1, "--jobs", tmp_path / "jobs") as server:
        job = server.wait_until_over(server.send(fake).json()["links"]["self"])
        served = server.get(job["links"]["result"]).json()
    assert served["fake_probability"] == pytest.approx(expected["fake_probability"], abs=1e-4)
    scores = [
        [frame["fake_probability"] for person in facts["people"] for frame in person["frames"]] for facts in (served, expected)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    assert [facts["judged_by"]["run_by"] for facts in (served, expected)] == ["onnxruntime", "torch"]
