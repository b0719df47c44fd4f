"""Weights that were trained on other pictures, for a network's training to begin from.

`pretrained: true` takes the file that `import_weights` laid into data/weights and pinned by its hash in pretrained.yaml, which
is in git; `pretrained: FILE` takes any other. Hubs are asked by that command alone, so that a run never depends on them.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.ledger import content_hash
from pipeline.params import read_yaml
from pipeline.project import from_root, relative

Weights = dict[str, Tensor]
WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys under which some scripts keep the weights beside other things
PINS = "model_test_train/pretrained.yaml"


@dataclass(frozen=True)
class Source:
    """Where the weights of a network are published."""

    name: str  # library/network
    page: str
    download: Callable[[], Weights]  # by the library's own code

    @property
    def file(self) -> Path:
        return from_root(f"data/weights/{self.name.replace('/', '_')}.safetensors")


Asked = Callable[[nn.Module, Source], None]  # who is asked where weights would be read
Pretrained = bool | str | Asked


def load_pretrained(network: nn.Module, pretrained: Pretrained, source: Source) -> None:
    """What the YAML's `pretrained` says."""
    if callable(pretrained):
        pretrained(network, source)
    elif pretrained:
        path = pinned(source) if pretrained is True else Path(pretrained)
        if not path.is_file():
            raise UserError(f"backbone.pretrained: {path} is not there; put the weights of {source.name} there, or say 'false'")
        fill(network, read_weights(path), f"backbone.pretrained: {path}", source.name)


def read_pins() -> dict[str, str]:
    """source -> hash."""
    path = from_root(PINS)
    return (read_yaml(path).get("pretrained") or {}) if path.is_file() else {}


def begins_from(pretrained: Any) -> Any:
    """What tells one beginning from another: the pins, or the hash of a file."""
    if pretrained is True:
        return read_pins()
    return content_hash(Path(pretrained)) if pretrained and Path(pretrained).is_file() else None


def pinned(source: Source) -> Path:
    """The imported file, if it is the one that was pinned."""
    pins = read_pins()
    if source.name not in pins or not source.file.is_file():
        raise UserError(
            f"backbone.pretrained is true, and {relative(source.file)} with the weights of {source.name} was not imported: "
            f"get them from {source.page} by `python -m model_test_train.import_weights`, or say 'pretrained: false'"
        )
    if content_hash(source.file) != pins[source.name]:
        raise UserError(f"{relative(source.file)} is not the file that {PINS} pins; import it anew, or take back what changed")
    return source.file


def fill(network: nn.Module, weights: Weights, what: str, name: str) -> None:
    """All weights that the network has; what follows its feature map may be beside them."""
    try:
        missing = network.load_state_dict(weights, strict=False).missing_keys
    except RuntimeError as error:  # shapes differ
        raise UserError(f"{what} does not fit {name}: {str(error).splitlines()[-1].strip()}") from error
    if missing:
        raise UserError(f"{what} lacks {len(missing)} weights of {name}, first {missing[0]}")


def read_weights(path: Path) -> Weights:
    """By their published names, whatever they were wrapped in. Nothing in the file is run."""
    try:
        content = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read as weights: {str(error).splitlines()[0]}") from error
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path} holds no state dict (names and tensors)")
    return {str(name).removeprefix("module."): value for name, value in content.items()}  # several GPUs leave that prefix
