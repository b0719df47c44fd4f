"""DFDC: the Deepfake Detection Challenge, its parts, the sample of it on Kaggle, and its test set.

    dfdc_train_part_0/metadata.json   {"a.mp4": {"label": "FAKE", "split": "train", "original": "b.mp4"}, ...}
    dfdc_train_part_0/a.mp4           one part or many, each perhaps in a folder of its own name once more
    test/labels.csv                   filename,label with 1 for fake; or a metadata.json with is_fake

A person is known by the name of the original: a fake belongs to the one it was made of.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.index import FAKE, ORIGINAL, REAL, SPLITS
from preprocessing.corpus.layouts.class_names import label_of_folder
from preprocessing.corpus.layouts.tree import (
    OURS,
    VIDEO_SUFFIXES,
    Item,
    Layout,
    Tree,
    Unfit,
    entries_of,
    identity_of,
    label_of_word,
    media_in,
    report_strays,
    split_of_word,
    unknown_folder,
    video_name,
)

METHOD = "DFDC"
METADATA = "metadata.json"
UNLABELLED = "test_videos"  # of Kaggle: its labels were never published
PART = "dfdc_train_part_"


@dataclass(frozen=True)
class Listed:
    label: int
    split: str
    original: str


@dataclass(frozen=True)
class VideoList:
    path: Path
    videos: dict[str, Listed]


def is_root(folder: Path) -> bool:
    if any(label_of_folder(path) is not None for path in entries_of(folder)[0]):
        return False
    return any(_is_list(path) for path in _possible_lists(folder))


def _possible_lists(root: Path) -> Iterator[Path]:
    """In the folder, in the folders in it, and where these are unpacked archives of parts, in the folders in them."""
    folders = [path for path in entries_of(root)[0] if path.name not in OURS]
    unpacked = [path for folder in folders for path in entries_of(folder)[0] if _is_part(path, folder)]
    for place in (root, *folders, *unpacked):
        yield from (path for path in entries_of(place)[1] if path.name == METADATA or path.suffix.lower() == ".csv")


def _is_part(path: Path, archive: Path) -> bool:
    """dfdc_train_part_00.zip holds a folder dfdc_train_part_0."""
    return path.name == archive.name or (path.name.startswith(PART) and archive.name.startswith(PART))


def _is_list(path: Path) -> bool:
    return _is_csv_list(path) if path.suffix.lower() == ".csv" else _is_metadata(_json_in(path))


def _is_csv_list(path: Path) -> bool:
    """Not so the sample submission that Kaggle puts beside the videos: each of its labels is 0.5."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = csv.DictReader(file)
        first = next(rows, None) if {"filename", "label"} <= set(rows.fieldnames or ()) else None
    return first is not None and label_of_word(first["label"]) is not None


def _is_metadata(content: Any) -> bool:
    """Its entries are of videos; a FOLDER's may be of folders."""
    name, first = next(iter(content.items()), ("", None)) if isinstance(content, dict) else ("", None)
    is_of_video = Path(name).suffix.lower() in VIDEO_SUFFIXES
    return is_of_video and isinstance(first, dict) and (first.get("label") in ("REAL", "FAKE") or "is_fake" in first)


def _json_in(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}); fetch it again") from error


def read(root: Path, data_path: Path, compression: str) -> Tree:
    tree = Tree("DFDC", root)
    lists = [_read_list(path) for path in _lists(root)]
    homes = {video_list.path.parent for video_list in lists}
    for video_list in lists:
        _add(video_list, homes, tree)
    _report_strays(root, homes, tree)
    if not tree.items:
        listed = sum(len(video_list.videos) for video_list in lists)
        raise UserError(f"none of the {listed} videos that {lists[0].path} lists is there; unpack the archives beside it")
    said = {item.split for item in tree.items}
    tree.open_splits = tuple(split for split in SPLITS if split not in said) or SPLITS
    return tree


def _lists(root: Path) -> list[Path]:
    """One a folder: where a labels.csv lies beside a metadata.json, they say the same."""
    by_folder: dict[Path, Path] = {}
    for path in _possible_lists(root):
        if _is_list(path) and (path.name == METADATA or path.parent not in by_folder):
            by_folder[path.parent] = path
    return list(by_folder.values())


def _read_list(path: Path) -> VideoList:
    if path.suffix.lower() == ".csv":
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = {Path(row["filename"]).name: row for row in csv.DictReader(file) if row["filename"]}
        split = split_of_word(path.parent.name) or SPLITS[2]  # only the sets that were kept for the end came with such a list
        return VideoList(path, {name: _listed(path, name, row["label"], split, "") for name, row in rows.items()})
    videos = {}
    for name, entry in _json_in(path).items():
        if not isinstance(entry, dict):
            raise UserError(f"{path}: the entry of '{name}' is not like {{'label': 'REAL'}}; fetch it again")
        given = split_of_word(str(entry.get("split", SPLITS[2] if "is_fake" in entry else "")))
        split = given if given != SPLITS[0] else ""  # all that was published for training says so: the rest is drawn from it
        videos[name] = _listed(path, name, entry.get("label", entry.get("is_fake")), split, entry.get("original") or "")
    return VideoList(path, videos)


def _listed(path: Path, name: str, word: object, split: str, original: str) -> Listed:
    label = label_of_word(word)
    if label is None:
        raise UserError(f"{path}: the label of '{name}' is '{word}'; it can be REAL or FAKE, 0 or 1")
    return Listed(label, split, original)


def _add(video_list: VideoList, homes: set[Path], tree: Tree) -> None:
    home = video_list.path.parent
    inside = [path for path in entries_of(home)[0] if path.name not in OURS]
    # A metadata.json has its videos beside it; what a labels.csv lists may lie in a folder there.
    inner = [path for path in inside if path not in homes] if video_list.path.name != METADATA else []
    known = {METADATA, video_list.path.name, *OURS, *(path.name for path in inner), *(path.name for path in homes)}
    paths = {path.name: path for folder in (home, *inner) for path in media_in(folder, tree.unfit, known)}
    for name, path in paths.items():
        if name in video_list.videos:
            tree.items.append(_item(path, video_list.videos[name]))
        else:
            reason = f"{video_list.path.name} does not list it, so nothing says whether it is real"
            tree.unfit.append(Unfit(path, reason, "take it out, or add it to the list"))
    for name in video_list.videos.keys() - paths.keys():
        tree.missing.append(_item(home / name, video_list.videos[name]))


def _item(path: Path, listed: Listed) -> Item:
    if listed.label == REAL:
        return Item(path, ORIGINAL, REAL, (identity_of(path.stem),), path.stem, split=listed.split)
    original = Path(listed.original).stem or path.stem
    made_from = (video_name(ORIGINAL, original),) if listed.original else ()
    return Item(path, METHOD, FAKE, (identity_of(original),), path.stem, made_from, listed.split)


def _report_strays(root: Path, homes: set[Path], tree: Tree) -> None:
    if root in homes:
        return
    for folder in entries_of(root)[0]:
        if folder.name in OURS or any(home == folder or home.parent == folder for home in homes):
            continue
        reason = "a folder without metadata.json or labels.csv, so nothing says which of its videos are real"
        remedy = "put its list beside its videos, or take it out"
        is_meant = folder.name == UNLABELLED
        tree.unfit.append(Unfit(folder, reason, remedy, note=True) if is_meant else unknown_folder(folder, reason, remedy))
    report_strays(root, {path.name for path in entries_of(root)[0]}, tree.unfit)


LAYOUT = Layout("metadata.json with REAL and FAKE, or labels.csv, beside the videos or one folder deeper", is_root, read)
