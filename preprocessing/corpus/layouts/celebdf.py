"""CELEBDF: Celeb-DF v1 and v2, and Celeb-DF++.

Celeb-real/id0_0000.mp4                                  real: person id0
YouTube-real/00170.mp4                                   real: a person who is in no other video
Celeb-synthesis/id0_id1_0000.mp4                         fake: video 0000 of id0 with the face of id1
Celeb-synthesis/FaceReenact/DaGAN/id0_id1_0000.mp4       the same in Celeb-DF++, in a folder of its method
List_of_testing_videos.txt                               lines such as `1 YouTube-real/00170.mp4`; here, 1 means real

The videos of a folder may also be in its subfolder `videos`, beside `frames` and similar outputs of other preprocessing.
Without videos, the folders of crops in `frames` are read instead.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import CROPS, FAKE, FILE, ORIGINAL, REAL, SPLITS
from explain_deepfakes.preprocessing.corpus.layouts.tree import (
    GENERATED_FOLDERS,
    Item,
    Layout,
    Tree,
    TreeOptions,
    collect_media,
    contradiction_error,
    identity_from_name,
    list_entries,
    list_frame_folders,
    report_unexpected,
    unknown_person_note,
    video_name,
)

REAL_FOLDERS, FAKE_FOLDERS = ("celeb-real", "youtube-real"), ("celeb-synthesis",)
FOLDERS = REAL_FOLDERS + FAKE_FOLDERS
VIDEOS, CROP_FOLDERS = "videos", "frames"
DERIVED_FOLDERS = frozenset((CROP_FOLDERS, "landmarks", "masks"))
TEST_LIST = "list_of_testing_videos.txt"
LABELS = {"1": REAL, "0": FAKE}  # the reverse of all other corpora
ONE_PERSON, TWO_PEOPLE = re.compile(r"(id\d+)_(\d+)"), re.compile(r"(id\d+)_(id\d+)_(\d+)")


def is_root(folder: Path) -> bool:
    names = {path.name.lower() for path in list_entries(folder)[0]}
    if not names.isdisjoint(("celeb-real", "celeb-synthesis")):
        return True
    return "youtube-real" in names and _find_test_list(folder) is not None


def _find_test_list(folder: Path) -> Path | None:
    return next((path for path in list_entries(folder)[1] if path.name.lower() == TEST_LIST), None)


def read(root: Path, data_path: Path, options: TreeOptions) -> Tree:
    tree = Tree("CELEBDF", root)
    folders = [path for path in list_entries(root)[0] if path.name.lower() in FOLDERS]
    report_unexpected(root, {*(folder.name for folder in folders), *GENERATED_FOLDERS}, tree.problems)
    list_path = _find_test_list(root)
    test_list = _read_list(list_path) if list_path else {}
    for path in (path for folder in folders for path in _find_videos(folder, tree)):
        relative_path = path.relative_to(root)
        split = SPLITS[2] if _key(relative_path) in test_list else ""
        item, follows_rule = _make_item(path, relative_path, split)
        tree.items.append(item)
        if not follows_rule:
            tree.problems.append(unknown_person_note(path, "id0_0000, or id0_id1_0000 for a fake"))
    if not tree.items:
        raise UserError(f"no videos below {root}, in {', '.join(folder.name for folder in folders)}")
    if test_list:
        tree.open_splits = SPLITS[:2]  # the list is the complete test set
        tree.missing = list(_missing_items(tree, test_list))
    else:
        tree.notes.append(f"there is no List_of_testing_videos.txt in {root}, so the splits are assigned by hash")
    return tree


def _find_videos(folder: Path, tree: Tree) -> Iterator[Path]:
    """Yield the videos of a folder or of `videos` in it; of fakes, also those in nested folders of methods."""
    inside = [path for path in list_entries(folder)[0] if path.name not in DERIVED_FOLDERS]
    if folder.name.lower() not in FAKE_FOLDERS and folder.parent == tree.root:
        inside = [path for path in inside if path.name == VIDEOS]
    media = collect_media(folder, tree.problems, {*DERIVED_FOLDERS, *(path.name for path in inside)})
    yield from media
    if not media and not inside:
        yield from list_frame_folders(folder / CROP_FOLDERS) if (folder / CROP_FOLDERS).is_dir() else ()
    for path in inside:
        yield from collect_media(path, tree.problems) if path.name == VIDEOS else _find_videos(path, tree)


def _key(relative_path: Path) -> str:
    """Return a video's path for comparison with the test list: relative to the root, without subfolder, suffix and case."""
    parts = [part for part in relative_path.parts if part not in (VIDEOS, CROP_FOLDERS)]
    return "/".join(parts).lower().removesuffix(".mp4")


def _read_list(path: Path) -> dict[str, Path]:
    """Return the paths of the listed videos, relative to the root, by their keys."""
    paths, mislabelled = {}, []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        label, _, name = line.strip().partition(" ")
        if not line.strip():
            continue
        relative_path = Path(name.strip().replace("\\", "/"))
        top = relative_path.parts[0].lower() if len(relative_path.parts) > 1 else ""
        if label not in LABELS or top not in FOLDERS:
            raise UserError(f"{path}, line {number}: '{line.strip()}' does not have the form '1 YouTube-real/00170.mp4'")
        if LABELS[label] != (REAL if top in REAL_FOLDERS else FAKE):
            mislabelled.append(f"'{line.strip()}'")
        paths[_key(relative_path)] = relative_path
    if mislabelled:
        raise contradiction_error(path, mislabelled, "in this list 1 means real and 0 fake; download it again")
    return paths


def _make_item(path: Path, relative_path: Path, split: str) -> tuple[Item, bool]:
    """Return the item of a video, and whether its name follows the naming rule of the corpus."""
    top, stem, kind = relative_path.parts[0].lower(), path.stem, CROPS if path.is_dir() else FILE
    person, pair = ONE_PERSON.fullmatch(stem), TWO_PEOPLE.fullmatch(stem)
    if top == "youtube-real":
        return Item(path, ORIGINAL, REAL, (identity_from_name(f"YouTube-{stem}"),), stem, split=split, kind=kind), True
    if top == "celeb-real":
        identity = person[1] if person else identity_from_name(stem)
        return Item(path, ORIGINAL, REAL, (identity,), stem, split=split, kind=kind), bool(person)
    method = next(part for part in reversed(relative_path.parent.parts) if part not in (VIDEOS, CROP_FOLDERS))
    if pair:
        original = video_name(ORIGINAL, f"{pair[1]}_{pair[3]}")
        return Item(path, method, FAKE, (pair[1], pair[2]), stem, (original,), split, kind=kind), True
    if person:  # no face of another person, for example lip synchronisation
        return Item(path, method, FAKE, (person[1],), stem, (video_name(ORIGINAL, stem),), split, kind=kind), True
    return Item(path, method, FAKE, (identity_from_name(stem),), stem, (), split, kind=kind), False


def _missing_items(tree: Tree, test_list: dict[str, Path]) -> Iterator[Item]:
    present = {_key(item.path.relative_to(tree.root)) for item in tree.items}
    for key in sorted(test_list.keys() - present):
        yield _make_item(tree.root / test_list[key], test_list[key], SPLITS[2])[0]


LAYOUT = Layout("Celeb-real/, YouTube-real/ and Celeb-synthesis/", is_root, read)
