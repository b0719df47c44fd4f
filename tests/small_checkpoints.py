"""Further judges, made of the small corpus's own in no time."""

from pathlib import Path

import torch
from conftest import Project

from model_test_train.networks.checkpoint import load_checkpoint, save_checkpoint


def changed(finished: Project, folder: Path, noise: float) -> Path:
    """The same network with so much noise in its weights, and its test: a folder with model.safetensors and tests."""
    network, card = load_checkpoint(finished.folder / "data/models/best.safetensors", torch.device("cpu"))
    torch.manual_seed(0)
    with torch.no_grad():
        for weights in network.parameters():
            weights += noise * weights.std(correction=0) * torch.randn_like(weights)
    save_checkpoint(folder / "model.safetensors", network, card)
    finished.stage(
        "model_test_train/test_model.py", "--model_path", folder / "model.safetensors", "--output_path", folder / "tests"
    )
    return folder
