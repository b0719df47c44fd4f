"""Weights of published networks as checkpoints."""

from argparse import Namespace
from pathlib import Path

from explain_deepfakes.model_test_train.networks.catalogue import (
    load_published,
    make_card,
    published_preprocessing,
    read_entry,
    read_published_weights,
)
from explain_deepfakes.model_test_train.networks.checkpoint import Checkpoint, save_checkpoint
from explain_deepfakes.model_test_train.networks.mesonet_weights import load_mesonet
from explain_deepfakes.model_test_train.networks.network import (
    PUBLISHED,
    Description,
    Network,
    empty_network,
    read_description,
    read_extended,
)
from explain_deepfakes.model_test_train.networks.pretrained import Weights, read_weights
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.preprocessing.crops.params import CropSettings

PUBLISHED_CROPS = CropSettings(
    1 / 3, square=False, min_size=1, people="all", frames=None, align="none", scale=1.0, size=None, format="png", quality=95
)


def load_hybrid(network: Network, weights: Weights) -> None:
    """Load the weights of the published hybrid; missing or unexpected ones are an error."""
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
        preprocessing=published_preprocessing(PUBLISHED_CROPS),
        threshold=threshold,
        calibration=None,
        trained_on=trained_on,
        provenance={"weights": content_hash(path)},
    )


def read_published(args: Namespace) -> tuple[Network, Checkpoint]:
    if PUBLISHED in read_extended(args.config):
        entry = read_entry(args.config)
        weights = read_published_weights(entry, [args.weights])
        return load_published(entry, weights, str(args.weights)), make_card(entry, [args.weights])
    description = read_description(args.config)
    network = empty_network(description)
    if args.weights.suffix == ".h5":
        load_mesonet(network, args.weights)
    else:
        load_hybrid(network, read_weights(args.weights))
    return network, make_checkpoint(args.weights, description, args.trained_on, args.threshold)


def import_checkpoint(args: Namespace) -> None:
    network, checkpoint = read_published(args)
    save_checkpoint(args.output, network, checkpoint)
    print(f"{args.output}: {checkpoint.name}, {sum(weight.numel() for weight in network.parameters()):,} weights")
    if checkpoint.warning:
        print(checkpoint.warning)
