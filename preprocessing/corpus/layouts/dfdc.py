"""DFDC: the Deepfake Detection Challenge, its parts, the sample of it on Kaggle, and its test set.

    dfdc_train_part_0/metadata.json   {"a.mp4": {"label": "FAKE", "split": "train", "original": "b.mp4"}, ...}
    dfdc_train_part_0/a.mp4           one or more parts, each possibly in another folder of its name
    test/labels.csv                   filename,label with 1 for fake; or a metadata.json with is_fake

The identity of a person is the name of the original: a fake has the identity of the video it was made from.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import FAKE, ORIGINAL, REAL, SPLITS
from explain_deepfakes.preprocessing.corpus.layouts.class_names import label_of_folder
from explain_deepfakes.preprocessing.corpus.layouts.tree import (
    GENERATED_FOLDERS,
    VIDEO_SUFFIXES,
    Item,
    Layout,
    Tree,
    TreeOptions,
    TreeProblem,
    collect_media,
    identity_from_name,
    list_entries,
    parse_label,
    parse_split,
    report_unexpected,
    unknown_folder_problem,
    video_name,
)

METHOD = "DFDC"
METADATA = "metadata.json"
UNLABELLED = "test_videos"  # folder on Kaggle whose labels were never published
PART = "dfdc_train_part_"


@dataclass(frozen=True)
class DfdcEntry:
    """The entry of a video in a metadata.json or labels.csv."""

    label: int
    split: str
    original: str


@dataclass(frozen=True)
class VideoList:
    path: Path
    videos: dict[str, DfdcEntry]


def is_root(folder: Path) -> bool:
    if any(label_of_folder(path) is not None for path in list_entries(folder)[0]):
        return False
    return any(_is_list(path) for path in _possible_lists(folder))


def _possible_lists(root: Path) -> Iterator[Path]:
    """Yield possible lists in the folder, in its subfolders, and in the parts inside subfolders named after an archive."""
    folders = [path for path in list_entries(root)[0] if path.name not in GENERATED_FOLDERS]
    unpacked = [path for folder in folders for path in list_entries(folder)[0] if _is_part(path, folder)]
    for folder in (root, *folders, *unpacked):
        yield from (path for path in list_entries(folder)[1] if path.name == METADATA or path.suffix.lower() == ".csv")


def _is_part(path: Path, archive: Path) -> bool:
    """Whether the folder is a part inside its unpacked archive: dfdc_train_part_00.zip holds dfdc_train_part_0."""
    return path.name == archive.name or (path.name.startswith(PART) and archive.name.startswith(PART))


def _is_list(path: Path) -> bool:
    return _is_csv_list(path) if path.suffix.lower() == ".csv" else _is_metadata(_read_json(path))


def _is_csv_list(path: Path) -> bool:
    """Whether a CSV file has labels. The sample submission on Kaggle has not: each of its labels is 0.5."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = csv.DictReader(file)
        first = next(rows, None) if {"filename", "label"} <= set(rows.fieldnames or ()) else None
    return first is not None and parse_label(first["label"]) is not None


def _is_metadata(content: object) -> bool:
    """Whether the content describes videos of DFDC. A metadata.json of the layout FOLDER may describe folders."""
    name, first = next(iter(content.items()), ("", None)) if isinstance(content, dict) else ("", None)
    is_of_video = Path(name).suffix.lower() in VIDEO_SUFFIXES
    return is_of_video and isinstance(first, dict) and (first.get("label") in ("REAL", "FAKE") or "is_fake" in first)


def _read_json(path: Path) -> object:
    try:
        content: object = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}); download it again") from error
    return content


def read(root: Path, data_path: Path, options: TreeOptions) -> Tree:
    tree = Tree("DFDC", root)
    lists = [_read_list(path) for path in _find_lists(root)]
    list_folders = {video_list.path.parent for video_list in lists}
    for video_list in lists:
        _add_videos(video_list, list_folders, tree)
    _report_other_folders(root, list_folders, tree)
    if not tree.items:
        count = sum(len(video_list.videos) for video_list in lists)
        raise UserError(f"none of the {count} videos in {lists[0].path} exists; unpack the archives beside it")
    official_splits = {item.split for item in tree.items}
    tree.open_splits = tuple(split for split in SPLITS if split not in official_splits) or SPLITS
    return tree


def _find_lists(root: Path) -> list[Path]:
    """Return one list per folder: a labels.csv and a metadata.json in the same folder have the same content."""
    by_folder: dict[Path, Path] = {}
    for path in _possible_lists(root):
        if _is_list(path) and (path.name == METADATA or path.parent not in by_folder):
            by_folder[path.parent] = path
    return list(by_folder.values())


def _read_list(path: Path) -> VideoList:
    if path.suffix.lower() == ".csv":
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = {Path(row["filename"]).name: row for row in csv.DictReader(file) if row["filename"]}
        split = parse_split(path.parent.name) or SPLITS[2]  # only the held-out test sets came with such a list
        return VideoList(path, {name: _make_entry(path, name, row["label"], split, "") for name, row in rows.items()})
    videos, content = {}, _read_json(path)
    for name, entry in content.items() if isinstance(content, dict) else ():
        if not isinstance(entry, dict):
            raise UserError(f"{path}: the entry of '{name}' does not have the form {{'label': 'REAL'}}; download it again")
        listed_split = parse_split(str(entry.get("split", SPLITS[2] if "is_fake" in entry else "")))
        split = listed_split if listed_split != SPLITS[0] else ""  # all published videos say train: it is divided further
        videos[name] = _make_entry(path, name, entry.get("label", entry.get("is_fake")), split, entry.get("original") or "")
    return VideoList(path, videos)


def _make_entry(path: Path, name: str, word: object, split: str, original: str) -> DfdcEntry:
    label = parse_label(word)
    if label is None:
        raise UserError(f"{path}: the label of '{name}' is '{word}'; it must be REAL or FAKE, 0 or 1")
    return DfdcEntry(label, split, original)


def _add_videos(video_list: VideoList, list_folders: set[Path], tree: Tree) -> None:
    folder = video_list.path.parent
    subfolders = [path for path in list_entries(folder)[0] if path.name not in GENERATED_FOLDERS]
    # The videos of a metadata.json are in its folder; those of a labels.csv may also be in a subfolder.
    video_folders = [path for path in subfolders if path not in list_folders] if video_list.path.name != METADATA else []
    expected_folders = {path.name for path in (*video_folders, *list_folders)}
    known = {METADATA, video_list.path.name, *GENERATED_FOLDERS, *expected_folders}
    paths = {path.name: path for parent in (folder, *video_folders) for path in collect_media(parent, tree.problems, known)}
    for name, path in paths.items():
        if name in video_list.videos:
            tree.items.append(_make_item(path, video_list.videos[name]))
        else:
            reason = f"{video_list.path.name} does not list it, so its label is unknown"
            tree.problems.append(TreeProblem(path, reason, "remove it, or add it to the list"))
    for name in video_list.videos.keys() - paths.keys():
        tree.missing.append(_make_item(folder / name, video_list.videos[name]))


def _make_item(path: Path, entry: DfdcEntry) -> Item:
    if entry.label == REAL:
        return Item(path, ORIGINAL, REAL, (identity_from_name(path.stem),), path.stem, split=entry.split)
    original = Path(entry.original).stem or path.stem
    made_from = (video_name(ORIGINAL, original),) if entry.original else ()
    return Item(path, METHOD, FAKE, (identity_from_name(original),), path.stem, made_from, entry.split)


def _report_other_folders(root: Path, list_folders: set[Path], tree: Tree) -> None:
    if root in list_folders:
        return
    for folder in list_entries(root)[0]:
        if folder.name in GENERATED_FOLDERS or any(folder in (path, path.parent) for path in list_folders):
            continue
        reason = "a folder without metadata.json or labels.csv, so the labels of its videos are unknown"
        remedy = "put the list beside the videos, or remove the folder"
        tree.problems.append(
            TreeProblem(folder, reason, remedy, note=True)
            if folder.name == UNLABELLED
            else unknown_folder_problem(folder, reason, remedy)
        )
    report_unexpected(root, {path.name for path in list_entries(root)[0]}, tree.problems)


LAYOUT = Layout("metadata.json with REAL and FAKE, or labels.csv, beside the videos or one folder deeper", is_root, read)
