"""DF40: crops of the frames of fakes by forty methods, for training (DF40_train) and for tests (DF40).

DF40/<method>/{ff,cdf}/frames/<clip>/<number>.png     fakes of FaceForensics++ and of Celeb-DF; a few methods have
DF40_train/<method>/frames/<clip>/<number>.png        `fake` and `real` instead of `ff` and `cdf`

The real videos are those of FaceForensics++ and Celeb-DF, which are indexed as corpora of their own.
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
    identity_from_name,
    list_entries,
    list_frame_folders,
    report_unexpected,
)

TESTS, TRAINING = "DF40", "DF40_train"
DOMAINS = ("ff", "cdf")
NOT_IN_STEM = ("frames", "fake", "real")
PEOPLE = re.compile(r"(?P<a>\d{3})_(?P<b>\d{3})|(?P<c>id\d+)_(?P<d>id\d+)_\d+")


def is_root(folder: Path) -> bool:
    return any((folder / name).is_dir() for name in (TESTS, TRAINING)) or _is_half(folder)


def _is_half(folder: Path) -> bool:
    """Whether the folder is one of the two halves."""
    return folder.name in (TESTS, TRAINING) and any(
        (method / domain).is_dir() for method in list_entries(folder)[0] for domain in (*DOMAINS, "frames", "fake")
    )


def read(root: Path, data_path: Path, options: TreeOptions) -> Tree:
    tree = Tree("DF40", root)
    halves = [root] if _is_half(root) else [root / name for name in (TESTS, TRAINING) if (root / name).is_dir()]
    if halves != [root]:
        report_unexpected(root, {TESTS, TRAINING, *GENERATED_FOLDERS}, tree.problems)
    for half in halves:
        methods = [path for path in list_entries(half)[0] if path.name not in GENERATED_FOLDERS]
        report_unexpected(half, {*(path.name for path in methods), *GENERATED_FOLDERS}, tree.problems)
        for method in methods:
            tree.items += [_make_item(path, method, half) for path in list_frame_folders(method)]
    if not tree.items:
        raise UserError(f"no folders of frames below {root}; unpack the archives first")
    tree.open_splits = SPLITS[:2]
    if all(item.label == FAKE for item in tree.items):
        tree.notes.append("DF40 has no real videos of its own: index FaceForensics++ and Celeb-DF for them")
    return tree


def _make_item(path: Path, method: Path, half: Path) -> Item:
    parts = path.relative_to(method).parts
    is_real = "real" in parts
    names = [part for part in parts if part not in NOT_IN_STEM]
    prefix = ["train"] if half.name == TRAINING else []
    stem = "_".join([*([method.name] if is_real else []), *prefix, *names])
    people = PEOPLE.fullmatch(path.name)
    identities = [name for name in people.groups() if name] if people else [identity_from_name("-".join((method.name, *names)))]
    split = "" if half.name == TRAINING else SPLITS[2]
    name, label = (ORIGINAL, REAL) if is_real else (method.name, FAKE)
    return Item(path, name, label, tuple(identities), stem, split=split, kind=CROPS)


LAYOUT = Layout(f"{TESTS}/<method>/ff/ or {TRAINING}/<method>/", is_root, read)
