"""WILDDEEPFAKE: crops of faces from the Internet, a folder for each sequence of frames.

real_train/0/…/0/*.png, fake_test/12/…/3/*.png     the first folder is the video, the innermost one the sequence

The names have a space or an underscore, and in between there may be a folder `real` or `fake`, as the archives unpack.
"""

import re
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import CROPS, FAKE, ORIGINAL, REAL, SPLITS
from explain_deepfakes.preprocessing.corpus.layouts.tree import (
    GENERATED_FOLDERS,
    Item,
    Layout,
    Tree,
    TreeOptions,
    list_entries,
    list_frame_folders,
    parse_split,
    report_unexpected,
)

CLASS = re.compile(r"(real|fake)[ _-](train|test)", re.IGNORECASE)
METHOD = "WildDeepfake"


def is_root(folder: Path) -> bool:
    return sum(bool(CLASS.fullmatch(path.name)) for path in list_entries(folder)[0]) > 1


def read(root: Path, data_path: Path, options: TreeOptions) -> Tree:
    tree = Tree("WILDDEEPFAKE", root)
    folders = {path: match for path in list_entries(root)[0] if (match := CLASS.fullmatch(path.name))}
    report_unexpected(root, {*(folder.name for folder in folders), *GENERATED_FOLDERS}, tree.problems)
    for folder, match in folders.items():
        report_unexpected(folder, {path.name for path in list_entries(folder)[0]}, tree.problems)
        word, split = match[1].lower(), parse_split(match[2])
        for sequence in list_frame_folders(folder):
            parts = [part for part in sequence.relative_to(folder).parts if part.lower() not in ("real", "fake")]
            stem = "_".join((match[2].lower(), *dict.fromkeys(parts)))
            method, label = (ORIGINAL, REAL) if word == "real" else (METHOD, FAKE)
            identity = "-".join((word, match[2].lower(), *parts[:1]))
            official = split if split == SPLITS[2] else ""
            tree.items.append(Item(sequence, method, label, (identity,), stem, split=official, kind=CROPS))
    if not tree.items:
        raise UserError(f"no folders of pictures below {root}; unpack the archives first")
    tree.open_splits = SPLITS[:2]
    tree.notes.append("the people are unknown: each video counts as a separate person, so the same person may be in two splits")
    return tree


LAYOUT = Layout("real_train/, fake_train/, real_test/ and fake_test/ with folders of pictures", is_root, read)
