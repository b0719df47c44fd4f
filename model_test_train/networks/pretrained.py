"""Pretrained weights for the backbone of a network.

`pretrained: true` loads the file that `import_weights` stored in data/weights and pinned by its hash in pretrained.yaml, which
is in git; `pretrained: FILE` loads any other file. Only that command downloads from hubs, so a training run never depends on
them.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.params import read_yaml
from explain_deepfakes.pipeline.project import find_file, from_root, relative

Weights = dict[str, Tensor]
WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys under which some scripts store the weights among other values
PINS = "model_test_train/pretrained.yaml"


@dataclass(frozen=True)
class Source:
    """Where the weights of a network are published."""

    name: str  # library/network
    page: str
    download: Callable[[], Weights]  # uses the library's own code

    @property
    def file(self) -> Path:
        return from_root(f"data/weights/{self.name.replace('/', '_')}.safetensors")


PretrainedCallback = Callable[[nn.Module, Source], None]  # called in place of loading weights
Pretrained = bool | str | PretrainedCallback


def load_pretrained(network: nn.Module, pretrained: Pretrained, source: Source) -> None:
    """Load the weights that the YAML's `pretrained` selects, if any."""
    if callable(pretrained):
        pretrained(network, source)
    elif pretrained:
        path = pinned_file(source) if pretrained is True else Path(pretrained)
        if not path.is_file():
            raise UserError(f"backbone.pretrained: {path} is missing; put the weights of {source.name} there or set 'false'")
        load_weights(network, read_weights(path), f"backbone.pretrained: {path}", source.name)


def read_pins() -> dict[str, str]:
    """The pinned hash of each source."""
    path = find_file(PINS)
    return (read_yaml(path).get("pretrained") or {}) if path.is_file() else {}


def pretrained_identity(pretrained: bool | str | None) -> dict[str, str] | str | None:
    """What identifies the initial weights of a run: the pins, the hash of a file, or None."""
    if pretrained is True:
        return read_pins()
    return content_hash(Path(pretrained)) if isinstance(pretrained, str) and Path(pretrained).is_file() else None


def pinned_file(source: Source) -> Path:
    """Path of the imported file, after checking that it is the one that was pinned."""
    pins = read_pins()
    if source.name not in pins or not source.file.is_file():
        raise UserError(
            f"backbone.pretrained is true, but {relative(source.file)} with the weights of {source.name} was not imported: "
            f"get them from {source.page} with `python model_test_train/import_weights.py`, or set 'pretrained: false'"
        )
    if content_hash(source.file) != pins[source.name]:
        raise UserError(f"{relative(source.file)} is not the file that {PINS} pins; import it again, or restore the file")
    return source.file


def load_weights(network: nn.Module, weights: Weights, origin: str, name: str) -> None:
    """Load every weight of the network; layers beyond its feature map may be present in `weights` too.

    Error messages call the weights `origin` and the network `name`.
    """
    try:
        missing = network.load_state_dict(weights, strict=False).missing_keys
    except RuntimeError as error:  # shapes differ
        raise UserError(f"{origin} does not fit {name}: {str(error).splitlines()[-1].strip()}") from error
    if missing:
        raise UserError(f"{origin} lacks {len(missing)} weights of {name}, the first is {missing[0]}")


def read_weights(path: Path) -> Weights:
    """Read weights by their published names, unwrapping common containers. No code in the file is executed."""
    try:
        content = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read as weights: {str(error).splitlines()[0]}") from error
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path} holds no state dict (a mapping of names to tensors)")
    return {str(name).removeprefix("module."): value for name, value in content.items()}  # multi-GPU training adds that prefix
