"""Every command starts in a fresh process, as it does for a user, and imports only what it needs.

The other tests start from preloaded processes.
"""

import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from little_videos import draw_face
from PIL import Image

from explain_deepfakes.model_test_train.networks.checkpoint import Checkpoint, save_checkpoint
from explain_deepfakes.model_test_train.networks.network import build_network, read_description
from explain_deepfakes.model_test_train.networks.training_data import DRAWN_DATA
from explain_deepfakes.pipeline.params import load_params
from explain_deepfakes.pipeline.project import CODE
from explain_deepfakes.preprocessing.crops.params import CropParams
from explain_deepfakes.preprocessing.faces.params import DetectionParams

PACKAGES = ("preprocessing", "model_test_train", "explain_model", "serving", "BWCluster", "pipeline")
COMMANDS = [
    path.relative_to(CODE)
    for package in PACKAGES
    for path in sorted((CODE / package).glob("*.py"))
    if '__name__ == "__main__"' in path.read_text()
]
# Each takes from a third of a second to several seconds to import.
SLOW = {"torchvision", "sklearn", "matplotlib", "pandas", "statsmodels", "scipy.optimize", "scipy.stats", "timm", "fastapi"}


def run_cold(folder: Path, *command: object) -> tuple[str, set[str]]:
    """Run a command that succeeds; return its standard output, and the modules that it imported."""
    arguments = [sys.executable, "-X", "importtime", *map(str, command)]
    result = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout, set(re.findall(r"\| +([\w.]+)$", result.stderr, re.MULTILINE))


@pytest.mark.parametrize("command", [*COMMANDS, Path("explain_deepfakes/cli.py")], ids=str)
def test_a_command_describes_its_flags_without_loading_slow_libraries(command: Path, tmp_path: Path) -> None:
    output, imported = run_cold(tmp_path, CODE / command, "--help")
    assert output.startswith("usage: ")
    assert not imported & (SLOW | {"torch", "cv2", "av"})


def test_a_verdict_waits_for_no_library_that_only_training_or_reports_need(tmp_path: Path) -> None:
    description = read_description(CODE / "model_test_train/configs/demo/meso4.yaml")
    preprocessing = {
        "detect_faces": asdict(load_params("detect_faces", DetectionParams).detection_settings()),
        "extract_crops": asdict(load_params("extract_crops", CropParams).crop_settings()),
    }
    card = Checkpoint("meso4", description, preprocessing, 0.5, None, [DRAWN_DATA], {})
    save_checkpoint(tmp_path / "meso4.safetensors", build_network(description), card)
    picture = np.random.default_rng(0).normal(110, 6, (240, 320, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(draw_face(picture, 160, 120, 40)).save(tmp_path / "face.png")
    model = ("--model_path", tmp_path / "meso4.safetensors", "--demo", "--device", "cpu")
    output, imported = run_cold(tmp_path, CODE / "serving/predict.py", tmp_path / "face.png", *model)
    assert "1 of the 1 sampled frames were scored" in output
    assert "torch" in imported
    assert not imported & SLOW
