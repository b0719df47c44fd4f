"""Folder layouts of the corpora that people have: a tree of videos -> what is in it, who is in them, what does not fit.

Each layout is a module that tells its tree from others and reads it. docs/layouts.md has their rules in words.
"""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NoReturn

from pipeline.errors import UserError
from pipeline.incremental import LEDGER
from pipeline.project import absolute
from preprocessing.corpus.layouts import celebdf, deeperforensics, dfdc, faceforensics, folder
from preprocessing.corpus.layouts.class_names import class_label
from preprocessing.corpus.layouts.tree import (
    ARCHIVE_SUFFIXES,
    IMAGE_SUFFIXES,
    OURS,
    VIDEO_SUFFIXES,
    Tree,
    entries_of,
    files_below,
    is_media,
    listed,
    split_of_word,
)

AUTO = "AUTO"
LAYOUTS = {  # in the order in which a tree is asked whether it is one
    "DEEPERFORENSICS": deeperforensics.LAYOUT,  # which may hold FaceForensics++'s originals too
    "FACEFORENSICS": faceforensics.LAYOUT,
    "CELEBDF": celebdf.LAYOUT,
    "DFDC": dfdc.LAYOUT,
    "FOLDER": folder.LAYOUT,
}
OTHER_NAMES = {"FACEFORENSIC": "FACEFORENSICS", "DEMO": "FACEFORENSICS"}  # the first is the published extraction's spelling
NAMES = (AUTO, "DEMO", *LAYOUTS)
OUR_WORK = "it looks like crops or boxes, made from videos: train_model.py and test_model.py take crops, as --crops"
DEEPER, UP = 2, 5  # folders that a tree is looked for below and above the one that is named
LOOKED_AT = 100  # folders on each level


def read_tree(data_path: Path, dataset: str, compression: str) -> Tree:
    wanted = OTHER_NAMES.get(dataset.upper(), dataset.upper())
    if wanted not in (AUTO, *LAYOUTS):
        raise UserError(f"dataset '{dataset}' is not a layout that is known; there are: {', '.join(NAMES)}")
    if not data_path.is_dir():
        raise UserError(f"data_path {data_path} is not a folder" + ("; unpack it" if data_path.is_file() else ""))
    names = list(LAYOUTS) if wanted == AUTO else [wanted]
    # Both look like class folders of somebody's own: crops of ours, and the folders inside a corpus.
    if _is_our_work(data_path) or (wanted == AUTO and _tree_above(data_path, ["DEEPERFORENSICS", "FACEFORENSICS", "CELEBDF"])):
        _refuse(data_path, wanted)
    name, root = _recognise(data_path, names) or _refuse(data_path, wanted)
    if _layout_of(root, list(LAYOUTS)) != name:  # forced on a tree that is another's: nobody would know who is in it
        _refuse(data_path, wanted)
    return LAYOUTS[name].read(root, data_path, compression)


def _recognise(data_path: Path, names: list[str]) -> tuple[str, Path] | None:
    """The layout and its root: the folder itself, or the only one of a layout below it."""
    for level in _levels(data_path):
        found = [(name, place) for place in level if (name := _layout_of(place, names))]
        if len(found) > 1:
            places = listed([f"{place.relative_to(data_path)} ({name})" for name, place in found])
            raise UserError(f"{data_path} holds several corpora: {places}; set data_path to one of them")
        if found:
            return found[0]
    return None


def _levels(data_path: Path) -> Iterator[list[Path]]:
    level = [data_path]
    for _ in range(DEEPER + 1):
        yield level
        below = (path for place in level for path in entries_of(place)[0] if path.name not in OURS)
        level = list(islice(below, LOOKED_AT))


def _layout_of(place: Path, names: list[str]) -> str | None:
    return next((name for name in names if LAYOUTS[name].is_root(place)), None)


def _refuse(data_path: Path, wanted: str) -> NoReturn:
    what = "no layout that is known" if wanted == AUTO else f"not laid out as {wanted}"
    looked_for = [f"{name}: {LAYOUTS[name].looked_for}" for name in (LAYOUTS if wanted == AUTO else [wanted])]
    folders, files = entries_of(data_path)
    there = listed([f"{path.name}/" for path in folders] + [path.name for path in files]) or "nothing"
    guess = _guess(data_path)
    raise UserError(
        f"{data_path} is {what}: looked in it and {DEEPER} folders deeper for {' | '.join(looked_for)}; "
        f"there is: {there}" + (f"; {guess}" if guess else "")
    )


def _guess(data_path: Path) -> str:
    """What the folder may be instead, and what to do then; empty if it looks like nothing."""
    if _is_our_work(data_path):
        return OUR_WORK
    if above := _tree_above(data_path, list(LAYOUTS)):
        return f"it looks like a part of the {above[0]} tree at {above[1]}: set data_path to that"
    if other := _recognise(data_path, list(LAYOUTS)):
        return f"it looks like {other[0]}: set dataset to that, or to {AUTO}"
    folders, files = entries_of(data_path)
    if any(path.name in OURS for path in folders):
        return OUR_WORK
    media = [path for path in files if is_media(path, VIDEO_SUFFIXES | IMAGE_SUFFIXES)]
    if media:
        return f"nothing says which of its {len(media)} files are real: move them into real/ and fake/, or add a metadata.json"
    if any(path.suffix.lower() in ARCHIVE_SUFFIXES for path in files):
        return "unpack the archives first"
    unknown = (path for path in folders if any(is_media(file, VIDEO_SUFFIXES | IMAGE_SUFFIXES) for file in files_below(path)))
    if first := next(unknown, None):
        return (
            f"nothing says which of its folders are real: name them so (real/, fake/), or write a {folder.METADATA} into it, "
            f'such as {{{json.dumps(first.name, ensure_ascii=False)}: {{"label": "real"}}}}'
        )
    return ""


def _is_our_work(folder: Path) -> bool:
    """Crops may have been extracted into the corpus itself, so a ledger alone says nothing."""
    return folder.name in OURS and any((place / LEDGER).is_file() for place in (folder, folder.parent))


def _tree_above(data_path: Path, names: list[str]) -> tuple[str, Path] | None:
    """The layout and the root of the tree that the folder is a part of."""
    here = absolute(data_path)
    for name in names:
        for above in list(here.parents)[:UP]:
            if _is_part_of(here.relative_to(above).parts[0], name) and LAYOUTS[name].is_root(above):
                return name, above
    return None


def _is_part_of(top: str, name: str) -> bool:
    """Whether a folder of that name belongs right below the root of such a tree."""
    if name == "DEEPERFORENSICS":
        return top in (deeperforensics.FAKES, deeperforensics.SOURCES, faceforensics.ORIGINALS)
    if name == "FACEFORENSICS":
        return top in (faceforensics.ORIGINALS, faceforensics.MANIPULATED, *faceforensics.OFFICIAL_METHODS)
    if name == "CELEBDF":
        return top.lower() in celebdf.FOLDERS
    return name == "FOLDER" and (class_label(top) is not None or bool(split_of_word(top)))


__all__ = ["AUTO", "LAYOUTS", "NAMES", "read_tree"]
