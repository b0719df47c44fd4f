"""DEEPSPEAK: DeepSpeak 1.1 and 2.0, recordings of people at their webcams and fakes of them.

annotations-real.csv         video-file, identity, …
annotations-fake.csv         video-file, engine, identity-source, identity-target, recording-target, …
annotations-split-def.csv    identity, split: train or test

The videos are searched by name in all folders. A fake was made from the recording <identity-target>-<recording-target>.mp4.
"""

import csv
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import FAKE, REAL, SPLITS
from explain_deepfakes.preprocessing.corpus.layouts.records import MediaFinder, Record, add_records
from explain_deepfakes.preprocessing.corpus.layouts.tree import Layout, Tree, TreeOptions, identity_from_name, parse_split

REALS, FAKES, SPLIT_LIST = "annotations-real.csv", "annotations-fake.csv", "annotations-split-def.csv"
VIDEO, PERSON = "video-file", "identity"
FAKE_COLUMNS = (VIDEO, "engine", "identity-source", "identity-target", "recording-target")

Row = dict[str, str]


def is_root(folder: Path) -> bool:
    path = folder / FAKES
    if not path.is_file():
        return False
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file, suppress(csv.Error):
        return set(FAKE_COLUMNS) <= set(next(csv.reader(file), ()))
    return False


def read(root: Path, data_path: Path, options: TreeOptions) -> Tree:
    tree = Tree("DEEPSPEAK", root)
    tested = _read_tested_people(root / SPLIT_LIST, tree)
    reals, fakes = _read_rows(root / REALS, (VIDEO, PERSON)), _read_rows(root / FAKES, FAKE_COLUMNS)
    records = [*(_real(row, tested) for row in reals), *(_fake(row, tested) for row in fakes)]
    finder = MediaFinder([root])
    add_records(tree, records, finder)
    if not tree.items:
        raise UserError(
            f"none of the {len(records)} videos in {REALS} and {FAKES} exists below {root}; unpack the archives there"
        )
    finder.note_unlisted(tree)
    tree.official = dict.fromkeys(tested, SPLITS[2])
    if tested:
        tree.open_splits = SPLITS[:2]  # the list divides into training and test; validation videos are taken from training
    return tree


def _read_tested_people(path: Path, tree: Tree) -> set[str]:
    if not path.is_file():
        tree.notes.append(f"there is no {path.name} in {path.parent}, so the splits are assigned by hash")
        return set()
    rows = _read_rows(path, (PERSON, "split"))
    return {identity_from_name(row[PERSON]) for row in rows if parse_split(row["split"]) == SPLITS[2]}


def _read_rows(path: Path, columns: Collection[str]) -> Iterator[Row]:
    if not path.is_file():
        raise UserError(f"there is no {path.name} in {path.parent}; download it into that folder")
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        if absent := [column for column in columns if column not in (rows.fieldnames or ())]:
            raise UserError(f"{path} has no column '{absent[0]}'; download it again")
        yield from ({column: (row[column] or "").strip() for column in columns} for row in rows)


def _real(row: Row, tested: set[str]) -> Record:
    person = identity_from_name(row[PERSON])
    return Record(row[VIDEO], REAL, SPLITS[2] if person in tested else "", (person,))


def _fake(row: Row, tested: set[str]) -> Record:
    target, source = (identity_from_name(row[name]) for name in ("identity-target", "identity-source"))
    original = f"{row['identity-target']}-{row['recording-target']}"
    split = SPLITS[2] if target in tested else ""
    return Record(row[VIDEO], FAKE, split, tuple(dict.fromkeys((target, source))), row["engine"], (original,))


LAYOUT = Layout(f"{FAKES} and {REALS}", is_root, read)
