"""Weights that the published scripts saved -> a checkpoint of ours, which test, explain and serve take.

    python -m model_test_train.import_checkpoint --weights FILE --config YAML --output CHECKPOINT

They are those of the hybrid (a state dict) and of MesoNet (.h5, saved by Keras). Nothing in the file is run. What the weights
were trained on, and the threshold that suits them, the file does not say: `--trained_on` and `--threshold` do.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model_test_train.metrics.verdicts import PUBLISHED_THRESHOLD
from model_test_train.networks.checkpoint import UNKNOWN_DATA, Checkpoint, save_checkpoint
from model_test_train.networks.mesonet_weights import load_mesonet
from model_test_train.networks.network import Network, empty_network, read_description
from model_test_train.networks.pretrained import Weights, read_weights
from pipeline.errors import UserError, run
from pipeline.ledger import content_hash
from pipeline.params import load_params, spellings
from preprocessing.crops import extraction
from preprocessing.faces import detection

PUBLISHED_CROPS = extraction.CropSettings(1 / 3, square=False, min_size=1, people="all", frames=None, format="png", quality=95)


def load_published(network: Network, weights: Weights) -> None:
    """Strictly: a weight that is missing, or that nobody asked for, is an error."""
    ours = {
        f"backbone.{name}" if name.startswith("efficient_net.") else f"head.{name}": value for name, value in weights.items()
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
    parser.add_argument("--weights", type=Path, required=True, help="the published file: a state dict, or MesoNet's .h5")
    parser.add_argument("--config", type=Path, required=True, help="the YAML of its network")
    parser.add_argument("--output", type=Path, required=True, help="the checkpoint to be written (.safetensors)")
    parser.add_argument(
        *spellings("trained_on"), nargs="+", default=[UNKNOWN_DATA], metavar="DATASET", help="such as FACEFORENSICS"
    )
    parser.add_argument("--threshold", type=float, default=PUBLISHED_THRESHOLD, help="fake above it (default: %(default)s)")
    given = parser.parse_args()
    description = read_description(given.config)
    network = empty_network(description)
    if given.weights.suffix == ".h5":
        load_mesonet(network, given.weights)
    else:
        load_published(network, read_weights(given.weights))
    checkpoint = checkpoint_of(given.weights, description, given.trained_on, given.threshold)
    save_checkpoint(given.output, network, checkpoint)
    print(f"{given.output}: {checkpoint.name}, {sum(weight.numel() for weight in network.parameters()):,} weights")
    if checkpoint.warning:
        print(checkpoint.warning)


if __name__ == "__main__":
    run(main)
