"""Weights trained on other pictures -> data/weights, pinned by their hash, for `pretrained: true` in a network's YAML.

    python -m model_test_train.import_weights --config YAML                  # downloaded by the library that publishes them
    python -m model_test_train.import_weights --config YAML --weights FILE   # that you downloaded

No stage downloads anything: what a network began from is a file whose hash is in git, and so in dvc.lock.
"""

import argparse
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import save
from torch import nn

from model_test_train.networks.network import empty_network, read_description
from model_test_train.networks.pretrained import PINS, Source, Weights, fill, read_pins, read_weights
from pipeline.errors import UserError, run
from pipeline.ledger import content_hash
from pipeline.outputs import write_bytes, write_text
from pipeline.project import from_root, relative

HEAD = "# The weights that `pretrained: true` begins from, by their hashes; import_weights writes this.\n"


def import_weights(network: nn.Module, source: Source, file: Path | None) -> None:
    """The file, if it fits the network, becomes the one that is pinned."""
    weights = read_weights(file) if file else downloaded(source)
    fill(network, weights, str(file or source.page), source.name)
    write_bytes(source.file, save({name: weight.contiguous().clone() for name, weight in weights.items()}))
    pins = read_pins()
    pins[source.name] = content_hash(source.file)
    write_text(from_root(PINS), HEAD + yaml.safe_dump({"pretrained": pins}))
    print(f"{relative(source.file)}: {source.name}, {len(weights)} tensors, sha256 {pins[source.name]}")


def downloaded(source: Source) -> Weights:
    try:
        return source.download()
    except UserError:
        raise
    except Exception as error:  # each library has its own for a hub that is out of reach
        raise UserError(
            f"the weights of {source.name} cannot be downloaded ({type(error).__name__}): get them from {source.page}, "
            "and name the file with --weights; or say 'pretrained: false' in the YAML"
        ) from error


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--config", type=Path, required=True, help="the YAML of a network that begins from them")
    parser.add_argument("--weights", type=Path, help="the file, a state dict (default: it is downloaded)")
    given = parser.parse_args()
    asked = False

    def ask(network: nn.Module, source: Source) -> None:
        nonlocal asked
        if not asked:
            import_weights(network, source, given.weights)
        asked = True

    description: dict[str, Any] = read_description(given.config)
    empty_network(description, pretrained=ask)
    if not asked:
        raise UserError(f"{given.config}: this network begins from no published weights")


if __name__ == "__main__":
    run(main)
