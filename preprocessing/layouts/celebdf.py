"""CELEBDF: Celeb-DF v1 and v2.

Celeb-real/id0_0000.mp4            real: person id0
YouTube-real/00170.mp4             real: somebody who is in no other video
Celeb-synthesis/id0_id1_0000.mp4   fake: id0's video 0000 with the face of id1
List_of_testing_videos.txt         lines such as `1 YouTube-real/00170.mp4`; here, 1 means real
"""

import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import UserError
from pipeline.index import FAKE, ORIGINAL, REAL, SPLITS
from preprocessing.layouts.tree import (
    OURS,
    Item,
    Layout,
    Tree,
    contradictions,
    entries_of,
    identity_of,
    media_in,
    own_person,
    report_strays,
)

REAL_FOLDERS, FAKE_FOLDERS = ("celeb-real", "youtube-real"), ("celeb-synthesis",)
TEST_LIST = "list_of_testing_videos.txt"
LABELS = {"1": REAL, "0": FAKE}  # the other way round than everywhere else
OF_CELEBRITY, OF_TWO = re.compile(r"(id\d+)_\d+"), re.compile(r"(id\d+)_(id\d+)_(\d+)")


def is_root(folder: Path) -> bool:
    names = {path.name.lower() for path in entries_of(folder)[0]}
    return not names.isdisjoint(("celeb-real", "celeb-synthesis")) or ("youtube-real" in names and _list_in(folder) is not None)


def _list_in(folder: Path) -> Path | None:
    return next((path for path in entries_of(folder)[1] if path.name.lower() == TEST_LIST), None)


def read(root: Path, data_path: Path, compression: str) -> Tree:
    tree = Tree("CELEBDF", root)
    folders = [path for path in entries_of(root)[0] if path.name.lower() in REAL_FOLDERS + FAKE_FOLDERS]
    report_strays(root, {*(folder.name for folder in folders), *OURS}, tree.unfit)
    test_list = _list_in(root)
    in_test = _read_list(test_list) if test_list else {}
    for folder in folders:
        for path in media_in(folder, tree.unfit):
            split = SPLITS[2] if f"{folder.name}/{path.name}".lower() in in_test else ""
            item, by_rule = _item(path, split)
            tree.items.append(item)
            if not by_rule:
                tree.unfit.append(own_person(path, "id0_0000, or id0_id1_0000 for a fake"))
    if not tree.items:
        raise UserError(f"no videos below {root}, in {', '.join(folder.name for folder in folders)}")
    if in_test:
        tree.open_splits = SPLITS[:2]  # the list is of all that belongs to the test
        tree.missing = list(_missing(tree, in_test))
    else:
        tree.notes.append(f"there is no List_of_testing_videos.txt in {root}, so the splits are drawn")
    return tree


def _read_list(path: Path) -> dict[str, Path]:
    """The listed videos, as `folder/name` in lower case; with their paths."""
    listed, wrong = {}, []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        label, _, name = line.strip().partition(" ")
        if not line.strip():
            continue
        place = Path(name.strip().replace("\\", "/"))
        folder = place.parent.name.lower()
        if label not in LABELS or folder not in REAL_FOLDERS + FAKE_FOLDERS:
            raise UserError(f"{path}, line {number}: '{line.strip()}' is not like '1 YouTube-real/00170.mp4'")
        if LABELS[label] != (REAL if folder in REAL_FOLDERS else FAKE):
            wrong.append(f"'{line.strip()}'")
        listed[f"{folder}/{place.name.lower()}"] = path.parent / place
    if wrong:
        raise contradictions(path, wrong, "in this list 1 means real and 0 fake; fetch it again")
    return listed


def _item(path: Path, split: str) -> tuple[Item, bool]:
    """And whether its name follows the corpus's rule."""
    folder, stem = path.parent.name.lower(), path.stem
    if folder == "youtube-real":
        return Item(path, ORIGINAL, REAL, (identity_of(f"YouTube-{stem}"),), stem, split=split), True
    if folder == "celeb-real":
        one = OF_CELEBRITY.fullmatch(stem)
        return Item(path, ORIGINAL, REAL, (one[1] if one else identity_of(stem),), stem, split=split), bool(one)
    two = OF_TWO.fullmatch(stem)
    people, made_from = ((two[1], two[2]), (f"{ORIGINAL}/{two[1]}_{two[3]}",)) if two else ((identity_of(stem),), ())
    return Item(path, path.parent.name, FAKE, people, stem, made_from, split), bool(two)


def _missing(tree: Tree, in_test: dict[str, Path]) -> Iterator[Item]:
    there = {f"{item.path.parent.name}/{item.path.name}".lower() for item in tree.items}
    for name in sorted(in_test.keys() - there):
        yield _item(in_test[name], SPLITS[2])[0]


LAYOUT = Layout("Celeb-real/, YouTube-real/ and Celeb-synthesis/", is_root, read)
