"""Import pretrained weights into data/weights, pinned by their hash."""

from argparse import Namespace
from pathlib import Path

import yaml
from safetensors.torch import save
from torch import nn

from explain_deepfakes.model_test_train.networks.network import empty_network, read_description
from explain_deepfakes.model_test_train.networks.pretrained import PINS, Source, Weights, load_weights, read_pins, read_weights
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.outputs import write_bytes, write_text
from explain_deepfakes.pipeline.project import from_root, relative

HEADER = "# SHA-256 of the weights that `pretrained: true` loads. Written by import_weights.\n"


def import_weights(network: nn.Module, source: Source, file: Path | None) -> None:
    """Store and pin the weights, if they fit the network. Without a file, download them."""
    weights = read_weights(file) if file else download(source)
    load_weights(network, weights, str(file or source.page), source.name)
    write_bytes(source.file, save({name: weight.contiguous().clone() for name, weight in weights.items()}))
    pins = read_pins()
    pins[source.name] = content_hash(source.file)
    write_text(from_root(PINS), HEADER + yaml.safe_dump({"pretrained": pins}))
    print(f"{relative(source.file)}: {source.name}, {len(weights)} tensors, sha256 {pins[source.name]}")


def download(source: Source) -> Weights:
    try:
        return source.download()
    except UserError:
        raise
    except Exception as error:  # each library has its own errors for an unreachable hub
        raise UserError(
            f"the weights of {source.name} cannot be downloaded ({type(error).__name__}): get them from {source.page}, "
            "and name the file with --weights, or set 'pretrained: false' in the YAML"
        ) from error


def import_for_config(args: Namespace) -> None:
    is_imported = False

    def import_once(network: nn.Module, source: Source) -> None:
        nonlocal is_imported
        if not is_imported:
            import_weights(network, source, args.weights)
        is_imported = True

    empty_network(read_description(args.config), pretrained=import_once)
    if not is_imported:
        raise UserError(f"{args.config}: there are no published weights for this network")
