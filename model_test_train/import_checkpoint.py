"""Import the weights of a published network as a checkpoint, which testing, explanations and serving accept.

    python model_test_train/import_checkpoint.py --weights FILE --config YAML --output CHECKPOINT

Accepts a state dict of the published hybrid network, or an .h5 file of MesoNet saved by Keras. No code in the file is executed.
The file does not state the training data or the threshold, so set `--trained_on` and `--threshold`.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from explain_deepfakes.model_test_train.metrics.verdicts import PUBLISHED_THRESHOLD
from explain_deepfakes.model_test_train.networks.checkpoint import UNKNOWN_DATA, Checkpoint, save_checkpoint
from explain_deepfakes.model_test_train.networks.mesonet_weights import load_mesonet
from explain_deepfakes.model_test_train.networks.network import Description, Network, empty_network, read_description
from explain_deepfakes.model_test_train.networks.pretrained import Weights, read_weights
from explain_deepfakes.pipeline.errors import UserError, run
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.params import flag_spellings, load_params
from explain_deepfakes.preprocessing.crops import extraction
from explain_deepfakes.preprocessing.faces import detection

PUBLISHED_CROPS = extraction.CropSettings(1 / 3, square=False, min_size=1, people="all", frames=None, format="png", quality=95)


def load_published(network: Network, weights: Weights) -> None:
    """Load the weights; missing or unexpected ones are an error."""
    renamed = {
        f"backbone.{name}" if name.startswith("efficient_net.") else f"head.{name}": value for name, value in weights.items()
    }
    try:
        network.load_state_dict(renamed)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise UserError(f"the weights do not fit the network that --config describes: {first}") from error


def make_checkpoint(path: Path, description: Description, trained_on: list[str], threshold: float) -> Checkpoint:
    return Checkpoint(
        name=path.stem if path.suffix else path.name,
        description=description,
        preprocessing={
            "detect_faces": asdict(load_params("detect_faces", detection.DetectionParams).detection_settings()),
            "extract_crops": asdict(PUBLISHED_CROPS),
        },
        threshold=threshold,
        calibration=None,
        trained_on=trained_on,
        provenance={"weights": content_hash(path)},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--weights", type=Path, required=True, help="the published file: a state dict, or .h5 of MesoNet")
    parser.add_argument("--config", type=Path, required=True, help="the YAML that describes the network")
    parser.add_argument("--output", type=Path, required=True, help="the checkpoint to write (.safetensors)")
    parser.add_argument(
        *flag_spellings("trained_on"),
        nargs="+",
        default=[UNKNOWN_DATA],
        metavar="DATASET",
        help="datasets it was trained on, such as FACEFORENSICS",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=PUBLISHED_THRESHOLD,
        help="probability above which a video is fake (default: %(default)s)",
    )
    args = parser.parse_args()
    description = read_description(args.config)
    network = empty_network(description)
    if args.weights.suffix == ".h5":
        load_mesonet(network, args.weights)
    else:
        load_published(network, read_weights(args.weights))
    checkpoint = make_checkpoint(args.weights, description, args.trained_on, args.threshold)
    save_checkpoint(args.output, network, checkpoint)
    print(f"{args.output}: {checkpoint.name}, {sum(weight.numel() for weight in network.parameters()):,} weights")
    if checkpoint.warning:
        print(checkpoint.warning)


if __name__ == "__main__":
    run(main)
