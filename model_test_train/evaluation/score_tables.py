"""Read a table of videos with labels and fake probabilities, from this pipeline or any other source.

Several common column names are accepted, and further columns are ignored. Several rows of one video count as their mean.
"""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from explain_deepfakes.model_test_train.evaluation.testing import LabelledScore, ProtocolRecord
from explain_deepfakes.model_test_train.metrics.intervals import connected_groups
from explain_deepfakes.pipeline.errors import UserError

COLUMN_NAMES = {
    "video": ("video", "video_name", "filename", "file", "path", "image", "name", "id"),
    "label": ("label", "target", "y_true", "truth", "ground_truth", "gt", "class"),
    "probability": (
        "fake_probability",
        "probability",
        "video_prob",
        "prob",
        "score",
        "y_score",
        "prediction",
        "pred",
        "output",
    ),
    "method": ("method", "manipulation", "type"),
    "identities": ("identities", "identity", "group", "person"),
    "verdict": ("verdict",),
}
REQUIRED = ("video", "label", "probability")
LABELS = {"0": 0, "0.0": 0, "real": 0, "original": 0, "1": 1, "1.0": 1, "fake": 1}
DEFAULT_METHODS = ("Original", "Fake")  # by label, if the table has no such column


@dataclass(frozen=True)
class ScoreTable:
    scores: list[LabelledScore]
    protocol: ProtocolRecord | None  # if stage test wrote the table
    has_people: bool  # otherwise each video is a group of its own


def read_scores(path: Path, threshold: float) -> ScoreTable:
    """Read a CSV, or a folder that stage test wrote. Without a column of verdicts, scores above the threshold are fake."""
    protocol = None
    if path.is_dir():
        protocol = json.loads((path / "protocol.json").read_text()) if (path / "protocol.json").is_file() else None
        path = path / "videos.csv"
    names, lines = read_csv(path)
    columns = _match_columns(path, names)
    rows = [{name: line[column] for name, column in columns.items()} for line in lines]
    by_video: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        if row["probability"]:  # empty for a video without a usable face
            by_video.setdefault(row["video"], []).append(row)
    if not by_video:
        raise UserError(f"{path} has no video with a probability")
    groups = group_numbers(by_video, [rows[0].get("identities", "").split() for rows in by_video.values()])
    scores = [_parse_score(path, rows, group, threshold) for rows, group in zip(by_video.values(), groups, strict=True)]
    return ScoreTable(scores, protocol, "identities" in columns)


def read_csv(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """The names of the columns, and the rows without spaces around values. Values that a row lacks are empty."""
    if not path.is_file():
        raise UserError(f"{path} does not exist; name a CSV of videos, or a folder that test_model.py wrote")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = list(reader.fieldnames or ())
            return names, [{name: (row[name] or "").strip() for name in names} for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a CSV in UTF-8; export it as one") from error


def parse_label(path: Path, text: str, video: str) -> int:
    label = LABELS.get(text.lower())
    if label is None:
        raise UserError(f"{path}: the label of {video} is '{text}'; it must be one of {', '.join(LABELS)}")
    return label


def group_numbers(videos: Iterable[str], people: Iterable[Sequence[str]]) -> list[int]:
    """The number of each video's group; a video without known people is a group of its own."""
    return connected_groups([list(names) or [f"video {video}"] for video, names in zip(videos, people, strict=True)])


def find_columns(columns: Sequence[str]) -> dict[str, str]:
    """The name of the table's column for each of `COLUMN_NAMES` that it has."""
    lower = {name.strip().lower(): name for name in columns}
    matches = {ours: next((lower[name] for name in names if name in lower), None) for ours, names in COLUMN_NAMES.items()}
    return {ours: theirs for ours, theirs in matches.items() if theirs is not None}


def _match_columns(path: Path, columns: Sequence[str]) -> dict[str, str]:
    matches = find_columns(columns)
    for ours in REQUIRED:
        if ours not in matches:
            accepted = ", ".join(COLUMN_NAMES[ours])
            raise UserError(f"{path} has no column for the {ours} (accepted: {accepted}); there are: {', '.join(columns)}")
    return matches


def _parse_score(path: Path, rows: Sequence[Mapping[str, str]], group: int, threshold: float) -> LabelledScore:
    """The score of one video, from all of its rows."""
    first = rows[0]
    label, *others = {parse_label(path, row["label"], first["video"]) for row in rows}
    if others:
        raise UserError(f"{path}: some rows of {first['video']} are labelled real, and some fake; correct their labels")
    try:
        probability = sum(float(row["probability"]) for row in rows) / len(rows)
    except ValueError:
        raise UserError(f"{path}: the probability of {first['video']} is '{first['probability']}', not a number") from None
    if not 0 <= probability <= 1:
        raise UserError(f"{path}: the probability of {first['video']} is {probability:g}; it must be between 0 and 1")
    called_fake = first["verdict"] == "fake" if first.get("verdict") and len(rows) == 1 else probability > threshold
    return LabelledScore(first["video"], first.get("method") or DEFAULT_METHODS[label], label, group, probability, called_fake)
