"""Predictor: load a checkpoint or an ensemble, and score face crops with it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import FiniteFloat
from typing_extensions import TypedDict

from explain_deepfakes.model_test_train.evaluation.fusion import Array, Fusion
from explain_deepfakes.model_test_train.metrics.aggregation import FrameScore, video_score
from explain_deepfakes.model_test_train.metrics.calibration import clipped_logits
from explain_deepfakes.model_test_train.networks.checkpoint import Checkpoint, load_checkpoint, parse_card
from explain_deepfakes.model_test_train.networks.input_contract import Image
from explain_deepfakes.model_test_train.networks.network import Network
from explain_deepfakes.model_test_train.networks.scoring import fake_probabilities
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.project import from_root
from explain_deepfakes.pipeline.typed_data import parse_as

BATCH_SIZE = 32
Runner = Callable[[torch.Tensor], Array]  # pictures (b, size, size, 3) uint8 -> fake probabilities (b,)


class MemberRecord(TypedDict):
    """The checkpoint of an ensemble's member."""

    file: str  # relative to the project
    sha256: str


class EnsembleRecord(TypedDict):
    """The JSON file of an ensemble: everything except the weights of its members."""

    members: Mapping[str, MemberRecord]
    temperatures: Sequence[FiniteFloat]
    way: str  # fusion method
    learnt: Mapping[str, Any]  # parameters of the method
    agreement: FiniteFloat
    validation: Mapping[str, Mapping[str, float]]  # metrics of each member and each fusion method
    held_out: bool  # whether the metrics of fusions are on videos that they were not fitted on
    card: dict[str, Any]  # the fields of its `Checkpoint`


@dataclass(frozen=True)
class MemberVotes:
    """The members' own fake probabilities of a video, and their verdicts, each by its own threshold."""

    probabilities: list[float]
    called_fake: list[bool]

    def agreement(self, called_fake: bool) -> float:
        """Share of the members that have this verdict."""
        return sum(vote == called_fake for vote in self.called_fake) / len(self.called_fake)

    @property
    def disagreement(self) -> float:
        """Standard deviation of the members' probabilities."""
        return float(np.std(self.probabilities))


def collect_votes(thresholds: Sequence[float], frames: Sequence[FrameScore], aggregation: str) -> MemberVotes:
    """The votes on frames whose auxiliary outputs are the members' probabilities."""
    probabilities = []
    for number in range(len(thresholds)):
        scores = [replace(frame, fake_probability=frame.aux_outputs[number]) for frame in frames]
        probabilities.append(video_score(scores, aggregation))
    called_fake = [probability > threshold for probability, threshold in zip(probabilities, thresholds, strict=True)]
    return MemberVotes(probabilities, called_fake)


@dataclass(frozen=True)
class EnsembleRule:
    """How the scores of several networks become one, and when their verdicts disagree."""

    fusion: Fusion
    thresholds: tuple[float, ...]  # of the members
    min_agreement: float  # a verdict is uncertain if a smaller share of the members has it


@dataclass(frozen=True)
class Predictor:
    """A network, or the members of an ensemble, with its checkpoint card."""

    card: Checkpoint
    networks: dict[str, Network]
    ensemble: EnsembleRule | None = None  # None for a single network
    runners: dict[str, Runner] = field(default_factory=dict)  # replacements that score instead of the networks

    def predict(self, crops: Sequence[Image]) -> tuple[Array, Array]:
        """The fake probability of each face (n,), and those by each network (n, networks)."""
        by_network = np.stack([self._probabilities(name, crops) for name in self.networks], 1)
        return self.ensemble.fusion(clipped_logits(by_network)) if self.ensemble else by_network[:, 0], by_network

    def check_finite(self) -> None:
        """Raise unless the score of a grey picture is finite."""
        probability = self.predict([np.full((160, 160, 3), 127, np.uint8)])[0][0]
        if not np.isfinite(probability):
            raise UserError(f"{self.card.name} gives no finite score for a grey picture; use another checkpoint")

    def members_disagree(self, frames: Sequence[FrameScore], called_fake: bool, aggregation: str) -> bool:
        """Whether too few members of the ensemble have this verdict."""
        if not self.ensemble:
            return False
        votes = collect_votes(self.ensemble.thresholds, frames, aggregation)
        return votes.agreement(called_fake) < self.ensemble.min_agreement

    def _probabilities(self, name: str, crops: Sequence[Image]) -> Array:
        network, run = self.networks[name], self.runners.get(name)
        batches = (crops[first : first + BATCH_SIZE] for first in range(0, len(crops), BATCH_SIZE))
        pictures = (torch.stack([_fit_crop(network, crop) for crop in batch]) for batch in batches)
        return np.concatenate([np.zeros(0), *map(run, pictures)]) if run else fake_probabilities(network, pictures)


def _fit_crop(network: Network, crop: Image) -> torch.Tensor:
    return torch.from_numpy(network.input.fit(crop))


def load_predictor(path: Path, device: torch.device) -> Predictor:
    """Load a checkpoint (.safetensors), or an ensemble (.json) after checking that its members are unchanged."""
    if path.suffix != ".json":
        network, card = load_checkpoint(path, device)
        return Predictor(card, {card.name: network})
    record = _read_ensemble(path)
    networks, thresholds = {}, []
    for name, member in record["members"].items():
        file = from_root(member["file"])
        networks[name], card = load_checkpoint(file, device)
        if content_hash(file) != member["sha256"]:
            raise UserError(f"{file} is not what the ensemble was fitted with; fit it again with model_test_train/ensemble.py")
        thresholds.append(card.threshold)
    fusion = Fusion(record["way"], record["learnt"], tuple(record["temperatures"]))
    try:
        with np.errstate(all="raise"):
            fusion(np.zeros((1, len(networks))))
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise UserError(f"{path} is damaged: its fusion '{fusion.method}' does not fit its {len(networks)} members") from error
    rule = EnsembleRule(fusion, tuple(thresholds), record["agreement"])
    return Predictor(parse_card(record["card"], str(path)), networks, rule)


def _read_ensemble(path: Path) -> EnsembleRecord:
    if not path.is_file():
        raise UserError(f"no ensemble at {path}; make one with model_test_train/ensemble.py")
    try:
        record = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not an ensemble file") from error
    return parse_as(EnsembleRecord, record, f"{path} is not an ensemble file")
