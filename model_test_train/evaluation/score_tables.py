"""A table of videos with labels and fake probabilities, ours or anybody's -> what was judged.

Columns may go by the names that are common; further ones are left alone. Several rows of one video count as their mean.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_test_train.evaluation.testing import LabelledScore
from model_test_train.metrics.intervals import connected
from pipeline.errors import UserError

NAMES = {
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
NEEDED = ("video", "label", "probability")
LABELS = {"0": 0, "0.0": 0, "real": 0, "original": 0, "1": 1, "1.0": 1, "fake": 1}
METHODS = ("Original", "Fake")  # where the table names none


@dataclass(frozen=True)
class ScoreTable:
    judged: list[LabelledScore]
    protocol: dict[str, Any] | None  # of a table that the stage test wrote
    has_people: bool  # else each video is a group by itself


def read_scores(path: Path, threshold: float) -> ScoreTable:
    """A CSV, or a folder that the stage test wrote. A verdict stands in the table, or is fake above the threshold."""
    protocol = None
    if path.is_dir():
        protocol = json.loads((path / "protocol.json").read_text()) if (path / "protocol.json").is_file() else None
        path = path / "videos.csv"
    if not path.is_file():
        raise UserError(f"{path} is not there; give a CSV of videos, or a folder that test_model.py wrote")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = _columns(path, reader.fieldnames or ())
        rows = [{ours: (row[theirs] or "").strip() for ours, theirs in columns.items()} for row in reader]
    by_video: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        if row["probability"]:  # without a usable face there is none
            by_video.setdefault(row["video"], []).append(row)
    if not by_video:
        raise UserError(f"{path} holds no video with a probability")
    groups = connected([rows[0].get("identities", "").split() or [f"video {name}"] for name, rows in by_video.items()])
    judged = [_judged(path, rows, group, threshold) for rows, group in zip(by_video.values(), groups, strict=True)]
    return ScoreTable(judged, protocol, "identities" in columns)


def _columns(path: Path, present: Sequence[str]) -> dict[str, str]:
    """Our name of each column -> theirs."""
    lower = {name.strip().lower(): name for name in present}
    found = {ours: next((lower[name] for name in names if name in lower), None) for ours, names in NAMES.items()}
    for ours in NEEDED:
        if found[ours] is None:
            known = ", ".join(NAMES[ours])
            raise UserError(f"{path} has no column for the {ours} ({known}); there are: {', '.join(present)}")
    return {ours: theirs for ours, theirs in found.items() if theirs is not None}


def _judged(path: Path, rows: Sequence[Mapping[str, str]], group: int, threshold: float) -> LabelledScore:
    first = rows[0]
    labels = {LABELS.get(row["label"].lower()) for row in rows}
    if len(labels) != 1 or None in labels:
        raise UserError(f"{path}: the label of {first['video']} is '{first['label']}'; it must be one of {', '.join(LABELS)}")
    label = LABELS[first["label"].lower()]
    try:
        probability = sum(float(row["probability"]) for row in rows) / len(rows)
    except ValueError:
        raise UserError(f"{path}: the probability of {first['video']} is '{first['probability']}', no number") from None
    if not 0 <= probability <= 1:
        raise UserError(f"{path}: the probability of {first['video']} is {probability:g}; it must lie from 0 to 1")
    called_fake = first["verdict"] == "fake" if first.get("verdict") and len(rows) == 1 else probability > threshold
    return LabelledScore(first["video"], first.get("method") or METHODS[label], label, group, probability, called_fake)
