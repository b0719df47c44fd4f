"""Who judges faces: one network, or several together; known by a checkpoint, or by the file of an ensemble."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model_test_train.evaluation.fusion import Array, Fused
from model_test_train.metrics.calibration import logits_of
from model_test_train.metrics.verdicts import AGGREGATIONS, FrameScore, person_scores
from model_test_train.networks.checkpoint import Checkpoint, load_checkpoint
from model_test_train.networks.input_contract import Image
from model_test_train.networks.network import Network
from model_test_train.networks.scoring import fake_probabilities
from pipeline.errors import UserError
from pipeline.ledger import content_hash
from pipeline.project import from_root

BATCH = 32
Runner = Callable[[torch.Tensor], Array]  # pictures (b, size, size, 3) uint8 -> fake probabilities (b,)


@dataclass(frozen=True)
class Vote:
    """How the members would have judged a video, each by its own threshold."""

    probabilities: list[float]
    fake: list[bool]

    def agreement(self, called_fake: bool) -> float:
        return sum(vote == called_fake for vote in self.fake) / len(self.fake)

    @property
    def disagreement(self) -> float:
        return float(np.std(self.probabilities))


def votes_of(thresholds: Sequence[float], frames: Sequence[FrameScore], aggregation: str) -> Vote:
    """Of frames that tell each member's probability."""
    of_members = []
    for number in range(len(thresholds)):
        people = person_scores([replace(frame, fake_probability=frame.told[number]) for frame in frames], aggregation)
        of_members.append(AGGREGATIONS[aggregation].video(list(people.values())))
    return Vote(of_members, [found > threshold for found, threshold in zip(of_members, thresholds, strict=True)])


@dataclass(frozen=True)
class Together:
    """What makes one judge of several networks."""

    fused: Fused
    thresholds: tuple[float, ...]  # of the members
    agreement: float  # share of their votes under which a verdict is uncertain


@dataclass(frozen=True)
class Predictor:
    """Networks, and what is said of their verdict."""

    card: Checkpoint
    networks: dict[str, Network]
    together: Together | None = None  # None: it is one network
    runners: dict[str, Runner] = field(default_factory=dict)  # that judge in the networks' place

    def judge(self, crops: Sequence[Image]) -> tuple[Array, Array]:
        """Of each face the fake probability (n,), and each network's (n, networks)."""
        found = np.stack([self._probabilities(name, crops) for name in self.networks], 1)
        return self.together.fused(logits_of(found)) if self.together else found[:, 0], found

    def prove(self) -> None:
        """That it gives a number at all: of a grey picture."""
        probability = self.judge([np.full((160, 160, 3), 127, np.uint8)])[0][0]
        if not np.isfinite(probability):
            raise UserError(f"{self.card.name} gives no number for a grey picture")

    def are_at_odds(self, frames: Sequence[FrameScore], called_fake: bool, aggregation: str) -> bool:
        """Whether too few members would have said the same."""
        if not self.together:
            return False
        vote = votes_of(self.together.thresholds, frames, aggregation)
        return vote.agreement(called_fake) < self.together.agreement

    def _probabilities(self, name: str, crops: Sequence[Image]) -> Array:
        network, run = self.networks[name], self.runners.get(name)
        batches = (crops[first : first + BATCH] for first in range(0, len(crops), BATCH))
        pictures = (torch.stack([_fitted(network, crop) for crop in batch]) for batch in batches)
        return np.concatenate([np.zeros(0), *map(run, pictures)]) if run else fake_probabilities(network, pictures)


def _fitted(network: Network, crop: Image) -> torch.Tensor:
    return torch.from_numpy(network.input.fit(crop))


def load_predictor(path: Path, device: torch.device) -> Predictor:
    """A checkpoint (.safetensors), or an ensemble (.json) whose members lie where its file says, and are what they were."""
    if path.suffix != ".json":
        network, card = load_checkpoint(path, device)
        return Predictor(card, {card.name: network})
    facts = _read(path)
    networks, thresholds = {}, []
    for name, member in facts["members"].items():
        file = from_root(member["file"])
        networks[name], card = load_checkpoint(file, device)
        if content_hash(file) != member["sha256"]:
            raise UserError(f"{file} is not what the ensemble was fitted with; model_test_train/ensemble.py fits it anew")
        thresholds.append(card.threshold)
    fused = Fused(facts["way"], facts["learnt"], tuple(facts["temperatures"]))
    return Predictor(Checkpoint(**facts["card"]), networks, Together(fused, tuple(thresholds), facts["agreement"]))


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"no ensemble at {path}; model_test_train/ensemble.py makes one")
    try:
        facts: dict[str, Any] = json.loads(path.read_text())
        missing = {"members", "way", "learnt", "temperatures", "card", "agreement"} - facts.keys()
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise UserError(f"{path} is no ensemble's file") from error
    if missing:
        raise UserError(f"{path} is no ensemble's file: it says nothing of its {sorted(missing)[0]}")
    return facts
