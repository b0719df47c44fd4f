"""A checkpoint: one safetensors file that carries everything needed to use the network it holds.

Weights, the network's own YAML (with its input contract), how its faces were found and cut out, threshold, calibration, and
where it came from. Nothing is unpickled, neither here nor in the unfinished state of a training run.
"""

import dataclasses
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from model_test_train.networks.network import Network, empty_network, with_current_names
from pipeline.errors import UserError
from pipeline.memory import keep_memory
from pipeline.outputs import write_bytes

DRAWN_DATA = "DEMO"
UNKNOWN_DATA = "unknown"  # of weights that came from elsewhere
PORTRAITS_DATA = "PORTRAITS"
PORTRAITS_WARNING = "Trained on animated, manipulated photographs; never on generated video or a face-swap program's output."
DRAWN_WARNING = "This network was trained on drawings only. Its verdict is no evidence about real faces."
WARNINGS = {frozenset({DRAWN_DATA}): DRAWN_WARNING, frozenset({PORTRAITS_DATA}): PORTRAITS_WARNING}


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint says beside its weights."""

    name: str  # as published: <network>_checkpoint<epoch>_<dataset>
    description: dict[str, Any]  # the network's YAML
    preprocessing: dict[str, Any]  # the settings of detect_faces and extract_crops that made its crops
    threshold: float  # a fake probability above it is called fake; of probabilities before calibration
    calibration: dict[str, Any] | None  # see figures/calibration.py
    trained_on: list[str]  # names of datasets; empty: never trained
    provenance: dict[str, Any]  # code revision, settings, index, epoch, validation figures

    @property
    def warning(self) -> str | None:
        """What must be said beside every verdict of this network."""
        if not self.trained_on:
            return "This network was never trained. Its verdict means nothing."
        if UNKNOWN_DATA in self.trained_on:
            return "What this network was trained on is not known here; how far its verdict can be trusted neither."
        return WARNINGS.get(frozenset(self.trained_on))

    @property
    def refusal(self) -> str | None:
        """Why this network must not give a verdict on a file of a user's, if it must not."""
        if not self.trained_on:
            return "this network was never trained"
        return "this demo model has never seen a real face" if set(self.trained_on) == {DRAWN_DATA} else None


def save_checkpoint(path: Path, network: Network, checkpoint: Checkpoint) -> None:
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    # One key only: safetensors does not keep several in order, and the file's bytes would differ from run to run.
    write_bytes(path, save(weights, {"checkpoint": json.dumps(dataclasses.asdict(checkpoint), sort_keys=True)}))


def read_card(path: Path) -> Checkpoint:
    """What a checkpoint says, without its weights."""
    return _read(path, with_weights=False)[0]


def _read(path: Path, with_weights: bool) -> tuple[Checkpoint, dict[str, Tensor]]:
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}; `dvc repro train` makes the demo's, --model_path names another")
    try:
        with safe_open(path, "pt") as file:
            checkpoint = Checkpoint(**json.loads((file.metadata() or {})["checkpoint"]))
            checkpoint = dataclasses.replace(checkpoint, description=with_current_names(checkpoint.description))
            names = file.keys() if with_weights else ()
            return checkpoint, {_current_weight_name(name): file.get_tensor(name) for name in names}
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is not a checkpoint of this project (a safetensors file with its own card)") from error


def _current_weight_name(name: str) -> str:
    """Earlier checkpoints call the head 'detector', and a patch 'place'."""
    return re.sub("^detector[.]", "head.", name).replace("to_place_logit.", "to_patch_logit.")


def are_finite(weights: Iterable[Tensor]) -> bool:
    """What has diverged is of no use any more."""
    return all(bool(weight.isfinite().all()) for weight in weights)


def load_checkpoint(path: Path, device: torch.device) -> tuple[Network, Checkpoint]:
    """The network, in eval mode on the device, and what its checkpoint says."""
    checkpoint, weights = _read(path, with_weights=True)
    if not (math.isfinite(checkpoint.threshold) and are_finite(weights.values())):
        raise UserError(f"{path} holds weights or a threshold that are not finite numbers: its training diverged; train again")
    keep_memory()
    network = empty_network(checkpoint.description)
    network.load_state_dict(weights)
    return network.to(device).eval().requires_grad_(False), checkpoint
