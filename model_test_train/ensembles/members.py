"""The members of an ensemble: networks that judged the same faces, each by itself."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_test_train.evaluation.fusion import Array, Faces
from model_test_train.evaluation.testing import disagreement
from model_test_train.metrics.calibration import logits_of
from model_test_train.metrics.intervals import identity_groups
from model_test_train.networks.checkpoint import Checkpoint, read_card
from pipeline.commands import run_command
from pipeline.errors import UserError
from pipeline.index import Video
from pipeline.ledger import content_hash
from pipeline.project import from_root

ALIKE = ("split", "index", "frames_per_video", "crops")  # in which their predictions must agree
SPLITS = {"validation_set": "validation", "test_set": "tests"}
Place = tuple[str, int, int]  # video, person, frame


def model_of(name: str) -> Path:
    """The checkpoint of a network beside the pipeline's own."""
    return from_root(f"data/networks/{name}/best.safetensors")


def results_of(name: str) -> Path:
    return from_root(f"results/networks/{name}")


@dataclass(frozen=True)
class Member:
    """A network, and what it found."""

    name: str
    model: Path
    card: Checkpoint

    def folder(self, split: str) -> Path:
        return results_of(self.name) / SPLITS[split]

    def judge(self, split: str, data: Sequence[object]) -> None:
        """By the same command as any network, unless it was done with these very weights."""
        protocol = self.folder(split) / "protocol.json"
        if not protocol.is_file() or json.loads(protocol.read_text())["checkpoint"] != content_hash(self.model):
            flags = ("--model_path", self.model, "--split", split, "--output_path", self.folder(split))
            run_command("model_test_train/test_model.py", *flags, *data)

    def scores(self, split: str) -> dict[Place, dict[str, str]]:
        path = self.folder(split) / "frames.csv"
        if not path.is_file():
            raise UserError(f"{path} is not there; leave --optimize-weights out, and it is made")
        with path.open(newline="") as file:
            return {(row["video"], int(row["track"]), int(row["frame"])): row for row in csv.DictReader(file)}


def member_of(name: str) -> Member:
    """By the name of its folder in data/networks, or its file."""
    path = Path(name) if name.endswith(".safetensors") else model_of(name)
    card = read_card(path)
    return Member(card.name if name.endswith(".safetensors") else name, path.absolute(), card)


@dataclass(frozen=True)
class Predictions:
    """All members' scores of the faces of one split's videos, sorted by video, person and frame."""

    places: list[Place]
    rows: list[dict[str, str]]  # of the first member
    probabilities: Array  # (faces, members)
    videos: list[Video]  # those with faces, in the same order

    def faces(self) -> Faces:
        people = [number for number, p in enumerate(self.places) if not number or p[:2] != self.places[number - 1][:2]]
        videos = [number for number, p in enumerate(people) if not number or self._video(p) != self._video(people[number - 1])]
        groups = identity_groups(self.videos)
        return Faces(
            logits_of(self.probabilities),
            np.array(people),
            np.array(videos),
            np.array([video.label for video in self.videos]),
            np.array([groups[video.video] for video in self.videos]),
        )

    def _video(self, face: int) -> str:
        return self.places[face][0]


def read_predictions(members: Sequence[Member], split: str, index: Sequence[Video]) -> Predictions:
    protocols = [json.loads((member.folder(split) / "protocol.json").read_text()) for member in members]
    for member, other in zip(members[1:], protocols[1:], strict=True):
        if differ := disagreement(protocols[0], other, ALIKE):
            what, one, two = differ
            raise UserError(
                f"{members[0].name} and {member.name} did not judge alike: {what} is {one} with one, {two} with the other"
            )
    found = [member.scores(split) for member in members]
    places = sorted(found[0])
    if any(set(one) != set(places) for one in found[1:]):
        raise UserError(f"the members did not judge the same faces of {split}; remove results/networks, and it is done anew")
    probabilities = [[float(one[place]["fake_probability"]) for one in found] for place in places]
    by_name = {video.video: video for video in index}
    videos = [by_name[name] for name in dict.fromkeys(place[0] for place in places)]
    return Predictions(places, [found[0][place] for place in places], np.array(probabilities), videos)
