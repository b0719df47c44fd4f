"""Checkpoint: one safetensors file with everything needed to use the network it holds.

It contains the weights, the network's YAML (with its input contract), the settings that detected and cropped its faces, the
threshold, the calibration and the provenance. Nothing is unpickled, neither here nor when a training run is resumed.
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

from explain_deepfakes.model_test_train.networks.network import (
    Description,
    Network,
    empty_network,
    with_current_names,
)
from explain_deepfakes.model_test_train.networks.training_data import DRAWN_DATA, PORTRAITS_DATA, UNKNOWN_DATA
from explain_deepfakes.pipeline.calibration_table import CalibrationTable
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.memory import keep_memory
from explain_deepfakes.pipeline.outputs import write_bytes
from explain_deepfakes.pipeline.typed_data import parse_as

PORTRAITS_WARNING = "Trained on animated and manipulated photographs only, not on generated video or real face-swap programs."
DRAWN_WARNING = "This network was trained on drawings only. Its verdict is no evidence about real faces."
# Names of weights in earlier checkpoints, as regular expressions, and the current ones.
FORMER_WEIGHT_NAMES = {
    r"^detector\.": "head.",
    r"to_place_logit\.": "to_patch_logit.",
    r"\.asks\.": ".queries.",
    r"\.shows\.": ".keys.",
    r"\.tells\.": ".values.",
}
WARNINGS = {frozenset({DRAWN_DATA}): DRAWN_WARNING, frozenset({PORTRAITS_DATA}): PORTRAITS_WARNING}


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint card: all that a checkpoint stores beside its weights."""

    name: str  # as in the published code: <network>_checkpoint<epoch>_<dataset>
    description: Description  # the network's YAML
    preprocessing: dict[str, dict[str, Any]]  # settings of detect_faces and extract_crops that produced its crops
    threshold: float  # an uncalibrated fake probability above it is called fake
    calibration: CalibrationTable | None
    trained_on: list[str]  # names of datasets; empty: never trained
    provenance: dict[str, Any]  # code revision, settings, index, epoch, validation metrics
    aggregation: str = "mean"  # how its threshold expects the scores of frames to become a verdict

    @property
    def warning(self) -> str | None:
        """The warning to show with every verdict of this network."""
        if not self.trained_on:
            return "This network was never trained. Its verdict means nothing."
        if UNKNOWN_DATA in self.trained_on:
            return "The training data of this network is unknown, and so is the reliability of its verdict."
        return WARNINGS.get(frozenset(self.trained_on))

    @property
    def refusal(self) -> str | None:
        """Why this network must not give a verdict on a user's file, or None if it may."""
        if not self.trained_on:
            return "this network was never trained"
        return "this demo model has never seen a real face" if set(self.trained_on) == {DRAWN_DATA} else None


def save_checkpoint(path: Path, network: Network, checkpoint: Checkpoint) -> None:
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    # A single metadata key: safetensors does not keep several keys in order, so the file's bytes would differ between runs.
    write_bytes(path, save(weights, {"checkpoint": json.dumps(dataclasses.asdict(checkpoint), sort_keys=True)}))


def read_card(path: Path) -> Checkpoint:
    """Read the checkpoint card without loading the weights."""
    return _read_checkpoint(path, with_weights=False)[0]


def _read_checkpoint(path: Path, with_weights: bool) -> tuple[Checkpoint, dict[str, Tensor]]:
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}; train one with `dvc repro train`, or name another with --model_path")
    try:
        with safe_open(path, "pt") as file:
            card = parse_card(json.loads((file.metadata() or {})["checkpoint"]), str(path))
            names = file.keys() if with_weights else ()
            return card, {_current_weight_name(name): file.get_tensor(name) for name in names}
    except (SafetensorError, KeyError, json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not a checkpoint of this project (a safetensors file with a checkpoint card)") from error


def parse_card(fields: object, source: str) -> Checkpoint:
    """Check the fields of a card: a file may contain anything. `source` is named in the error message."""
    card = parse_as(Checkpoint, fields, f"{source} has no valid checkpoint card")
    return dataclasses.replace(card, description=with_current_names(card.description))


def _current_weight_name(name: str) -> str:
    for former, current in FORMER_WEIGHT_NAMES.items():
        name = re.sub(former, current, name)
    return name


def are_finite(weights: Iterable[Tensor]) -> bool:
    """Whether no weight has diverged to infinity or NaN."""
    return all(bool(weight.isfinite().all()) for weight in weights)


def load_checkpoint(path: Path, device: torch.device) -> tuple[Network, Checkpoint]:
    """Load the network, frozen and in eval mode on the device, and its checkpoint card."""
    checkpoint, weights = _read_checkpoint(path, with_weights=True)
    if not (math.isfinite(checkpoint.threshold) and are_finite(weights.values())):
        raise UserError(f"{path} has weights or a threshold that are not finite: its training diverged; train again")
    keep_memory()
    network = empty_network(checkpoint.description)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{path} is damaged: its weights do not fit the network that its card describes") from error
    return network.to(device).eval().requires_grad_(False), checkpoint
