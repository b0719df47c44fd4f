"""CELEBDF: Celeb-DF v1 and v2, and Celeb-DF++.

Celeb-real/id0_0000.mp4                                  real: person id0
YouTube-real/00170.mp4                                   real: somebody who is in no other video
Celeb-synthesis/id0_id1_0000.mp4                         fake: id0's video 0000 with the face of id1
Celeb-synthesis/FaceReenact/DaGAN/id0_id1_0000.mp4       the same, of Celeb-DF++, in a folder of its method
List_of_testing_videos.txt                               lines such as `1 YouTube-real/00170.mp4`; here, 1 means real

The videos of a folder may also lie in a folder `videos` in it, beside `frames` and the like of other preprocessings.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import UserError
from pipeline.index import FAKE, ORIGINAL, REAL, SPLITS
from preprocessing.corpus.layouts.tree import (
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
    video_name,
)

REAL_FOLDERS, FAKE_FOLDERS = ("celeb-real", "youtube-real"), ("celeb-synthesis",)
FOLDERS = REAL_FOLDERS + FAKE_FOLDERS
VIDEOS, OTHER_COPIES = "videos", frozenset(("frames", "landmarks", "masks"))
TEST_LIST = "list_of_testing_videos.txt"
LABELS = {"1": REAL, "0": FAKE}  # the other way round than everywhere else
OF_CELEBRITY, OF_TWO = re.compile(r"(id\d+)_(\d+)"), re.compile(r"(id\d+)_(id\d+)_(\d+)")


def is_root(folder: Path) -> bool:
    names = {path.name.lower() for path in entries_of(folder)[0]}
    return not names.isdisjoint(("celeb-real", "celeb-synthesis")) or ("youtube-real" in names and _list_in(folder) is not None)


def _list_in(folder: Path) -> Path | None:
    return next((path for path in entries_of(folder)[1] if path.name.lower() == TEST_LIST), None)


def read(root: Path, data_path: Path, compression: str) -> Tree:
    tree = Tree("CELEBDF", root)
    folders = [path for path in entries_of(root)[0] if path.name.lower() in FOLDERS]
    report_strays(root, {*(folder.name for folder in folders), *OURS}, tree.unfit)
    test_list = _list_in(root)
    in_test = _read_list(test_list) if test_list else {}
    for path in (path for folder in folders for path in _videos_of(folder, tree)):
        place = path.relative_to(root)
        split = SPLITS[2] if _key(place) in in_test else ""
        item, by_rule = _item(path, place, split)
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


def _videos_of(folder: Path, tree: Tree) -> Iterator[Path]:
    """In the folder or in `videos` in it; of fakes, also in folders of methods, however these are grouped."""
    inside = [path for path in entries_of(folder)[0] if path.name not in OTHER_COPIES]
    inside = inside if folder.name.lower() in FAKE_FOLDERS or folder.parent != tree.root else _named(inside, VIDEOS)
    yield from media_in(folder, tree.unfit, {*OTHER_COPIES, *(path.name for path in inside)})
    for path in inside:
        yield from media_in(path, tree.unfit) if path.name == VIDEOS else _videos_of(path, tree)


def _named(folders: list[Path], name: str) -> list[Path]:
    return [folder for folder in folders if folder.name == name]


def _key(place: Path) -> str:
    """A video's place below the root, by which a list's line names it."""
    return "/".join(part for part in place.parts if part != VIDEOS).lower()


def _read_list(path: Path) -> dict[str, Path]:
    """The listed videos' places below the root, by their keys."""
    listed, wrong = {}, []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        label, _, name = line.strip().partition(" ")
        if not line.strip():
            continue
        place = Path(name.strip().replace("\\", "/"))
        top = place.parts[0].lower() if len(place.parts) > 1 else ""
        if label not in LABELS or top not in FOLDERS:
            raise UserError(f"{path}, line {number}: '{line.strip()}' is not like '1 YouTube-real/00170.mp4'")
        if LABELS[label] != (REAL if top in REAL_FOLDERS else FAKE):
            wrong.append(f"'{line.strip()}'")
        listed[_key(place)] = place
    if wrong:
        raise contradictions(path, wrong, "in this list 1 means real and 0 fake; fetch it again")
    return listed


def _item(path: Path, place: Path, split: str) -> tuple[Item, bool]:
    """Of a video by its place below the root; and whether its name follows the corpus's rule."""
    top, stem = place.parts[0].lower(), path.stem
    one, two = OF_CELEBRITY.fullmatch(stem), OF_TWO.fullmatch(stem)
    if top == "youtube-real":
        return Item(path, ORIGINAL, REAL, (identity_of(f"YouTube-{stem}"),), stem, split=split), True
    if top == "celeb-real":
        return Item(path, ORIGINAL, REAL, (one[1] if one else identity_of(stem),), stem, split=split), bool(one)
    method = next(part for part in reversed(place.parent.parts) if part != VIDEOS)
    if two:
        return Item(path, method, FAKE, (two[1], two[2]), stem, (video_name(ORIGINAL, f"{two[1]}_{two[3]}"),), split), True
    if one:  # with nobody else's face, such as lips moved to a sound
        return Item(path, method, FAKE, (one[1],), stem, (video_name(ORIGINAL, stem),), split), True
    return Item(path, method, FAKE, (identity_of(stem),), stem, (), split), False


def _missing(tree: Tree, in_test: dict[str, Path]) -> Iterator[Item]:
    there = {_key(item.path.relative_to(tree.root)) for item in tree.items}
    for key in sorted(in_test.keys() - there):
        yield _item(tree.root / in_test[key], in_test[key], SPLITS[2])[0]


LAYOUT = Layout("Celeb-real/, YouTube-real/ and Celeb-synthesis/", is_root, read)
