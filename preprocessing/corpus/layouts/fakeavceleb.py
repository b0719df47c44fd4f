"""FAKEAVCELEB: FakeAVCeleb, of which picture, sound or both may be manipulated.

RealVideo-RealAudio/<race>/<gender>/<person>/00109.mp4     real
RealVideo-FakeAudio/…                                      real: its pictures are not manipulated
FakeVideo-RealAudio/…, FakeVideo-FakeAudio/…               fake
meta_data.csv                                              methods and people: source, target1, method, path, …
"""

import csv
import re
from pathlib import Path

from explain_deepfakes.pipeline.index import FAKE, ORIGINAL, REAL
from explain_deepfakes.preprocessing.corpus.layouts.tree import (
    GENERATED_FOLDERS,
    Item,
    Layout,
    Tree,
    TreeOptions,
    identity_from_name,
    is_media,
    list_entries,
    non_video_problem,
    report_unexpected,
    walk_files,
)

KINDS = re.compile(r"(real|fake)video-(real|fake)audio", re.IGNORECASE)
LIST, FOLDER = "meta_data.csv", "folder"
PERSON = re.compile(r"id\d+")

Key = tuple[str, str]  # folder of the person, file name
Row = dict[str, str]


def is_root(folder: Path) -> bool:
    return any(KINDS.fullmatch(path.name) for path in list_entries(folder)[0])


def read(root: Path, data_path: Path, options: TreeOptions) -> Tree:
    tree = Tree("FAKEAVCELEB", root)
    folders = [path for path in list_entries(root)[0] if KINDS.fullmatch(path.name)]
    report_unexpected(root, {*(folder.name for folder in folders), LIST, *GENERATED_FOLDERS}, tree.problems)
    rows = _read_list(root / LIST) if (root / LIST).is_file() else {}
    if not rows:
        tree.notes.append(f"there is no {LIST} in {root}, so methods and the second person of each fake are unknown")
    for folder in folders:
        for path in walk_files(folder):
            if is_media(path):
                tree.items.append(_make_item(path, folder, rows.get((path.parent.name, path.name), {})))
            else:
                tree.problems.append(non_video_problem(path))
    only_sound = sum(item.path.relative_to(root).parts[0].lower() == "realvideo-fakeaudio" for item in tree.items)
    if only_sound:
        tree.notes.append(f"{only_sound} videos with manipulated sound only count as real: their pictures are not manipulated")
    return tree


def _read_list(path: Path) -> dict[Key, Row]:
    """Return the rows by person and file. The folder is in the last column, which has no name; some rows are repeated."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = [{(name or "").strip() or FOLDER: cell or "" for name, cell in row.items()} for row in csv.DictReader(file)]
    return {(Path(row.get(FOLDER, "")).name or row.get("source", ""), Path(row.get("path", "")).name): row for row in rows}


def _make_item(path: Path, folder: Path, row: Row) -> Item:
    parts = path.relative_to(folder).parts
    person = next((part for part in parts if PERSON.fullmatch(part)), path.parent.name)
    stem = "_".join((*parts[:-1], path.stem))
    if folder.name.lower().startswith("realvideo"):
        is_original = folder.name.lower().endswith("realaudio")
        return Item(path, ORIGINAL, REAL, (identity_from_name(person),), stem if is_original else f"{folder.name}_{stem}")
    donors = [row.get(name, "") for name in ("target1", "target2")]
    people = dict.fromkeys((person, *(donor for donor in donors if PERSON.fullmatch(donor))))
    method = row.get("method", "").strip().replace("/", "-")
    if method:  # of both kinds of fakes
        stem = f"{folder.name}_{stem}"
    return Item(path, method or folder.name, FAKE, tuple(map(identity_from_name, people)), stem)


LAYOUT = Layout("RealVideo-RealAudio/, FakeVideo-RealAudio/ and FakeVideo-FakeAudio/", is_root, read)
