"""Variants of the small corpus's checkpoint, created in a moment."""

from pathlib import Path

import torch
from conftest import Project

from explain_deepfakes.model_test_train.networks.checkpoint import load_checkpoint, save_checkpoint


def noisy_checkpoint(finished: Project, folder: Path, noise: float) -> Path:
    """Add noise to the finished network's weights, and test it. Return `folder`, with model.safetensors and tests."""
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
