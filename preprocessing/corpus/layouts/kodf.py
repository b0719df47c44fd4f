"""KODF: the Korean DeepFake Detection Dataset.

original_videos/<actor>/<actor>_<number>.mp4                              real
synthesized_videos/<method>/…/<target>_<source>_<code>_<number>.mp4       fake: shows the target

The videos may be in further folders. Which video of the target a fake was made from is not in its name.
"""

import re
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError
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
    unknown_person_note,
    walk_files,
)

REALS, FAKES = "original_videos", "synthesized_videos"
ACTOR, TARGET_AND_SOURCE = re.compile(r"(.+)_[^_]+"), re.compile(r"([^_]+)_([^_]+)_[^_]+_[^_]+")


def is_root(folder: Path) -> bool:
    return (folder / FAKES).is_dir()


def read(root: Path, data_path: Path, options: TreeOptions) -> Tree:
    tree = Tree("KODF", root)
    report_unexpected(root, {REALS, FAKES, *GENERATED_FOLDERS}, tree.problems)
    methods = list_entries(root / FAKES)[0]
    report_unexpected(root / FAKES, {method.name for method in methods}, tree.problems)
    for folder in (root / REALS, *methods):
        for path in walk_files(folder) if folder.is_dir() else ():
            if is_media(path):
                tree.items.append(_make_item(path, folder, tree))
            else:
                tree.problems.append(non_video_problem(path))
    if not tree.items:
        raise UserError(f"no videos below {root}, in {REALS}/ and {FAKES}/<method>/")
    tree.notes.append("the originals of the fakes are unknown, so the fakes are not compared with them")
    return tree


def _make_item(path: Path, folder: Path, tree: Tree) -> Item:
    is_real = folder.name == REALS
    people = (ACTOR if is_real else TARGET_AND_SOURCE).fullmatch(path.stem)
    if not people:
        tree.problems.append(unknown_person_note(path, "<actor>_<number>, or <target>_<source>_<code>_<number> for a fake"))
    identities = dict.fromkeys(map(identity_from_name, people.groups() if people else (path.stem,)))
    method, label = (ORIGINAL, REAL) if is_real else (folder.name, FAKE)
    return Item(path, method, label, tuple(identities), path.stem)


LAYOUT = Layout(f"{REALS}/ and {FAKES}/", is_root, read)
