"""The members of an ensemble: networks that each scored the same faces."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from explain_deepfakes.model_test_train.evaluation.fusion import Array, MemberLogits
from explain_deepfakes.model_test_train.evaluation.testing import first_difference
from explain_deepfakes.model_test_train.metrics.calibration import clipped_logits
from explain_deepfakes.model_test_train.metrics.intervals import identity_groups
from explain_deepfakes.model_test_train.networks.checkpoint import Checkpoint, read_card
from explain_deepfakes.model_test_train.networks.detector_files import detector_path
from explain_deepfakes.pipeline.commands import run_command
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import Video
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.project import from_root

MUST_AGREE = ("split", "index", "frames_per_video", "sampling", "crops")  # keys of the members' protocols
SPLIT_FOLDERS = {"validation_set": "validation", "test_set": "tests"}
FaceKey = tuple[str, int, int]  # video, person, frame


def checkpoint_path(name: str) -> Path:
    """The checkpoint of a network other than the pipeline's own."""
    return from_root(f"data/networks/{name}/best.safetensors")


def results_folder(name: str) -> Path:
    return from_root(f"results/networks/{name}")


@dataclass(frozen=True)
class Member:
    """A network of the ensemble, and where its scores are."""

    name: str
    model: Path
    card: Checkpoint

    def folder(self, split: str) -> Path:
        return results_folder(self.name) / SPLIT_FOLDERS[split]

    def score_split(self, split: str, data_flags: Sequence[object]) -> None:
        """Score the split with test_model.py, unless that was done already with exactly these weights."""
        protocol = self.folder(split) / "protocol.json"
        if not protocol.is_file() or json.loads(protocol.read_text())["checkpoint"] != content_hash(self.model):
            flags = ("--model_path", self.model, "--split", split, "--output_path", self.folder(split))
            run_command("model_test_train/test_model.py", *flags, *data_flags)

    def read_frame_rows(self, split: str) -> dict[FaceKey, dict[str, str]]:
        path = self.folder(split) / "frames.csv"
        if not path.is_file():
            raise UserError(f"{path} does not exist; run without --optimize-weights to make it")
        with path.open(newline="") as file:
            return {(row["video"], int(row["track"]), int(row["frame"])): row for row in csv.DictReader(file)}


def find_member(name: str) -> Member:
    """Find a member by the name of its folder in data/networks, of a published detector, or by the path of its checkpoint."""
    path = Path(name) if name.endswith(".safetensors") else checkpoint_path(name)
    if not path.is_file() and detector_path(name).is_file():
        path = detector_path(name)
    card = read_card(path)
    return Member(card.name if name.endswith(".safetensors") else name, path.absolute(), card)


@dataclass(frozen=True)
class Predictions:
    """All members' scores of the faces in one split's videos, sorted by video, person and frame."""

    keys: list[FaceKey]
    rows: list[dict[str, str]]  # of the first member's frames.csv
    probabilities: Array  # (faces, members)
    videos: list[Video]  # those with faces, in the same order

    def member_logits(self) -> MemberLogits:
        people = [number for number, key in enumerate(self.keys) if not number or key[:2] != self.keys[number - 1][:2]]
        videos = [number for number, p in enumerate(people) if not number or self._video(p) != self._video(people[number - 1])]
        groups = identity_groups(self.videos)
        return MemberLogits(
            clipped_logits(self.probabilities),
            np.array(people),
            np.array(videos),
            np.array([video.label for video in self.videos]),
            np.array([groups[video.video] for video in self.videos]),
        )

    def _video(self, face: int) -> str:
        return self.keys[face][0]


def read_predictions(members: Sequence[Member], split: str, index: Sequence[Video]) -> Predictions:
    """Read the scores of all members, and raise unless they are of the same faces."""
    protocols = [json.loads((member.folder(split) / "protocol.json").read_text()) for member in members]
    for member, protocol in zip(members[1:], protocols[1:], strict=True):
        if difference := first_difference(protocols[0], protocol, MUST_AGREE):
            key, first_value, value = difference
            raise UserError(
                f"{members[0].name} and {member.name} were not tested under the same conditions: "
                f"{key} is {first_value} for the former and {value} for the latter"
            )
    by_member = [member.read_frame_rows(split) for member in members]
    keys = sorted(by_member[0])
    if any(set(rows) != set(keys) for rows in by_member[1:]):
        raise UserError(f"the members did not score the same faces of {split}; remove results/networks and run again")
    probabilities = [[float(rows[key]["fake_probability"]) for rows in by_member] for key in keys]
    by_name = {video.video: video for video in index}
    videos = [by_name[name] for name in dict.fromkeys(key[0] for key in keys)]
    return Predictions(keys, [by_member[0][key] for key in keys], np.array(probabilities), videos)
