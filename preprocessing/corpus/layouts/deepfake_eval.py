"""DEEPFAKEEVAL: the videos of Deepfake-Eval-2024.

video-data/<name>.mp4
video-metadata-publish….csv     with the columns `Filename` and `Video Ground Truth`: Real, Fake, or unclear
"""

import csv
from contextlib import suppress
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import SPLITS
from explain_deepfakes.preprocessing.corpus.layouts.records import MediaFinder, Record, add_records
from explain_deepfakes.preprocessing.corpus.layouts.tree import (
    Layout,
    Tree,
    TreeOptions,
    list_entries,
    parse_label,
    parse_split,
)

NAME, LABEL, SPLIT = "Filename", "Video Ground Truth", "Finetuning Set"


def is_root(folder: Path) -> bool:
    return _find_list(folder) is not None


def _find_list(folder: Path) -> Path | None:
    return next((path for path in list_entries(folder)[1] if _is_list(path)), None)


def _is_list(path: Path) -> bool:
    if path.suffix.lower() != ".csv":
        return False
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file, suppress(csv.Error):
        return {NAME, LABEL} <= set(next(csv.reader(file), ()))
    return False


def read(root: Path, data_path: Path, options: TreeOptions) -> Tree:
    tree, path = Tree("DEEPFAKEEVAL", root), _find_list(root)
    assert path, "a root has a list"
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.DictReader(file) if row[NAME]]
    records = [
        Record(row[NAME], label, parse_split(row.get(SPLIT) or "") or SPLITS[2])
        for row in rows
        if (label := parse_label(row[LABEL])) is not None
    ]
    finder = MediaFinder([root])
    add_records(tree, records, finder)
    if not tree.items:
        raise UserError(f"none of the {len(records)} videos in {path} exists; put them into {root}/video-data")
    finder.note_unlisted(tree)
    if skipped := len(rows) - len(records):
        tree.notes.append(f"{skipped} videos whose truth is neither Real nor Fake are left out")
    return tree


LAYOUT = Layout(f"a CSV with the columns {NAME} and {LABEL}", is_root, read)
