"""Weights that the published scripts saved -> a checkpoint of ours, which test, explain and serve take.

    python -m model_test_train.import_checkpoint --weights FILE --config YAML --output CHECKPOINT

Nothing in the file is run: it is read with `weights_only`. What the weights were trained on, and the threshold that suits
them, the file does not say: `--trained_on` and `--threshold` do.
"""

import argparse
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model_test_train.checkpoint import UNKNOWN_DATA, Checkpoint, save_checkpoint, without_pretrained
from model_test_train.networks.network import Network, build_network, read_description
from model_test_train.verdicts import PUBLISHED_THRESHOLD
from pipeline.errors import UserError, run
from pipeline.ledger import content_hash
from pipeline.params import load_params, spellings
from preprocessing import detection, extraction

PUBLISHED_CROPS = extraction.CropSettings(1 / 3, square=False, min_size=1, people="all", frames=None, format="png", quality=95)
WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys under which some scripts keep the weights beside other things


def read_weights(path: Path) -> dict[str, Tensor]:
    """By their published names, whatever they were wrapped in."""
    try:
        content = torch.load(path, "cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} cannot be read as weights: {str(error).splitlines()[0]}") from error
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path} holds no state dict (names and tensors)")
    return {str(name).removeprefix("module."): value for name, value in content.items()}  # several GPUs leave that prefix


def load_published(network: Network, weights: dict[str, Tensor]) -> None:
    """Strictly: a weight that is missing, or that nobody asked for, is an error."""
    ours = {
        f"backbone.{name}" if name.startswith("efficient_net.") else f"detector.{name}": value
        for name, value in weights.items()
    }
    try:
        network.load_state_dict(ours)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise UserError(f"the weights do not fit the network that --config describes: {first}") from error


def checkpoint_of(path: Path, description: dict[str, Any], trained_on: list[str], threshold: float) -> Checkpoint:
    return Checkpoint(
        name=path.stem if path.suffix else path.name,
        description=description,
        preprocessing={
            "detect_faces": asdict(load_params("detect_faces", detection.Params).settings()),
            "extract_crops": asdict(PUBLISHED_CROPS),
        },
        threshold=threshold,
        calibration=None,
        trained_on=trained_on,
        provenance={"weights": content_hash(path)},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--weights", type=Path, required=True, help="the published file, a state dict")
    parser.add_argument("--config", type=Path, required=True, help="the YAML of its network")
    parser.add_argument("--output", type=Path, required=True, help="the checkpoint to be written (.safetensors)")
    parser.add_argument(
        *spellings("trained_on"), nargs="+", default=[UNKNOWN_DATA], metavar="DATASET", help="such as FACEFORENSICS"
    )
    parser.add_argument("--threshold", type=float, default=PUBLISHED_THRESHOLD, help="fake above it (default: %(default)s)")
    given = parser.parse_args()
    description = read_description(given.config)
    network = build_network(without_pretrained(description))
    load_published(network, read_weights(given.weights))
    checkpoint = checkpoint_of(given.weights, description, given.trained_on, given.threshold)
    save_checkpoint(given.output, network, checkpoint)
    print(f"{given.output}: {checkpoint.name}, {sum(weight.numel() for weight in network.parameters()):,} weights")
    if checkpoint.warning:
        print(checkpoint.warning)


if __name__ == "__main__":
    run(main)
