"""FACEFORENSICS: FaceForensics++ as its download script stores it, and the generated corpora.

    original_sequences/youtube/<compression>/videos/<id>.mp4                        real
    original_sequences/actors/<compression>/videos/<actor>__<scene>.mp4             real, of DeepFakeDetection
    manipulated_sequences/<Method>/<compression>/videos/<target>_<source>.mp4       fake: shows both people
    manipulated_sequences/DeepFakeDetection/…/<target>_<source>__<scene>__<code>.mp4  fake, of two actors
    manipulated_sequences/<Method>/masks/videos/<the fake's name>                   mask of the changed pixels, if known
    splits/{train,val,test}.json                                  pairs of ids; also in dataset/splits, or in the root

Instead of `videos`, `frames` may hold a folder of crops for each video, and `masks` beside it their masks (DeepfakeBench).

Or flat, as copies of it often are: original/<id>.mp4 and <Method>/<target>_<source>.mp4, all of one compression.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import CROPS, DEMO_LEDGER, FAKE, FILE, ORIGINAL, PORTRAIT_LEDGER, REAL
from explain_deepfakes.preprocessing.corpus.layouts.class_names import class_label
from explain_deepfakes.preprocessing.corpus.layouts.tree import (
    GENERATED_FOLDERS,
    Item,
    Layout,
    Tree,
    TreeOptions,
    TreeProblem,
    collect_media,
    format_names,
    identity_from_name,
    is_media,
    list_entries,
    list_frame_folders,
    report_unexpected,
    unknown_person_note,
    video_name,
)

ORIGINALS, MANIPULATED = "original_sequences", "manipulated_sequences"
FRAME_FOLDERS = "frames"
OFFICIAL_METHODS = ("Deepfakes", "Face2Face", "FaceShifter", "FaceSwap", "NeuralTextures")  # each made fakes of every pair
OTHER_METHODS = ("DeepFakeDetection",)
COMPRESSIONS = ("raw", "c0", "c23", "c40")
SAME_COMPRESSION = {"raw": ("raw", "c0"), "c0": ("c0", "raw")}  # older downloads name the uncompressed videos c0
OFFICIAL_FILES = {"train.json": "training_set", "val.json": "validation_set", "test.json": "test_set"}
TWO_IDS = re.compile(r"\d{3}_\d{3}")
TARGET_AND_SOURCE = re.compile(r"([^_]+)_([^_]+)")
ACTOR = re.compile(r"(\d+)__.+")
TWO_ACTORS = re.compile(r"(\d+)_(\d+)__(.+)__[^_]+")


@dataclass(frozen=True)
class VideoFolder:
    """A folder with the videos of one method, or with originals of one kind."""

    videos: Path
    masks: Path
    method: str
    label: int
    of_actors: bool = False  # originals of DeepFakeDetection


def is_root(folder: Path) -> bool:
    return (folder / ORIGINALS).is_dir() or (folder / MANIPULATED).is_dir() or _is_flat(folder)


def _is_flat(folder: Path) -> bool:
    methods = (folder / method for method in (*OFFICIAL_METHODS, *OTHER_METHODS) if (folder / method).is_dir())
    videos = (path for method in methods for path in list_entries(method)[1] if is_media(path))
    return any(TWO_IDS.fullmatch(path.stem) or TWO_ACTORS.fullmatch(path.stem) for path in videos)


def read(root: Path, data_path: Path, options: TreeOptions) -> Tree:
    # A generated corpus is recognised by its ledger, whatever `dataset` is, so that drawings or animated portraits are never
    # taken for FaceForensics++.
    generated = (name for ledger, name in ((DEMO_LEDGER, "DEMO"), (PORTRAIT_LEDGER, "PORTRAITS")) if (root / ledger).is_file())
    tree = Tree(next(generated, "FACEFORENSICS"), root)
    folders = list(_find_flat_folders(root, tree) if _is_flat(root) else _find_video_folders(root, options.compression, tree))
    for folder in folders:
        masks = {path.name: path for path in _collect_videos(folder.masks, tree)}
        for path in _collect_videos(folder.videos, tree):
            tree.items.append(_make_item(path, folder, masks.get(path.name), tree))
    if not tree.items:
        others = {name for path in root.glob("*_sequences/*/*") if path.is_dir() for name in COMPRESSIONS if path.name == name}
        raise UserError(
            f"no videos of compression '{options.compression}' below {root}; available: {format_names(others) or 'none'}"
        )
    pairs = _read_official_pairs([root, *(parent for parent in root.parents if parent.is_relative_to(data_path))])
    if not pairs:
        tree.notes.append(
            "there are no official lists, so the splits are assigned by hash; add train.json, val.json and test.json to splits/"
        )
    tree.official = {identity: split for pair, split in pairs.items() for identity in pair}
    if tree.dataset != "DEMO":  # the demo corpus has people without fakes
        tree.missing = list(_missing_items(tree, folders, pairs))
    return tree


def _find_video_folders(root: Path, compression: str, tree: Tree) -> Iterator[VideoFolder]:
    report_unexpected(root, {ORIGINALS, MANIPULATED, "splits", "dataset", *GENERATED_FOLDERS}, tree.problems)
    for kind in ("youtube", "actors"):
        if videos := find_videos_folder(root / ORIGINALS / kind, compression, tree):
            yield VideoFolder(videos, _masks_folder(videos), ORIGINAL, REAL, kind == "actors")
    if (root / ORIGINALS).is_dir():
        report_unexpected(root / ORIGINALS, {"youtube", "actors"}, tree.problems)
    if (root / MANIPULATED).is_dir():
        methods = list_entries(root / MANIPULATED)[0]
        report_unexpected(root / MANIPULATED, {method.name for method in methods}, tree.problems)
        for method in methods:
            if videos := find_videos_folder(method, compression, tree):
                yield VideoFolder(videos, _masks_folder(videos), method.name, FAKE)


def _masks_folder(videos: Path) -> Path:
    """The masks of c23/videos/a.mp4 are in masks/videos/a.mp4; those of c23/frames/a/0.png are in c23/masks/a/0.png."""
    if videos.name == FRAME_FOLDERS:
        return videos.parent / "masks"
    kind = videos.parent.parent if videos.name == "videos" else videos.parent
    return kind / "masks/videos"


def _collect_videos(folder: Path, tree: Tree) -> list[Path]:
    """Return the videos of a folder, or the folders of frames in it."""
    frame_folders = list_frame_folders(folder) if folder.is_dir() else []
    return frame_folders or collect_media(folder, tree.problems)


def find_videos_folder(folder: Path, compression: str, tree: Tree) -> Path | None:
    """Return the folder with the videos of that compression: its subfolder `videos` or `frames`, or itself."""
    if not folder.is_dir():
        return None
    report_unexpected(folder, {*COMPRESSIONS, "masks", "models"}, tree.problems)
    for name in SAME_COMPRESSION.get(compression, (compression,)):
        for content in ("videos", FRAME_FOLDERS):
            if (folder / name / content).is_dir():
                return folder / name / content
        if (folder / name).is_dir() and any(map(is_media, list_entries(folder / name)[1])):
            return folder / name
    others = [name for name in COMPRESSIONS if (folder / name).is_dir()]
    if others:
        reason = f"it has no compression {compression}, only {', '.join(others)}, so it is left out"
        tree.problems.append(TreeProblem(folder, reason, "download that compression, or set `compression` to an existing one"))
    return None


def _find_flat_folders(root: Path, tree: Tree) -> Iterator[VideoFolder]:
    known = set()
    for folder in list_entries(root)[0]:
        if class_label(folder.name) == REAL:
            yield VideoFolder(folder, folder / "masks", ORIGINAL, REAL)
        elif folder.name in (*OFFICIAL_METHODS, *OTHER_METHODS):
            yield VideoFolder(folder, folder / "masks", folder.name, FAKE)
        else:
            continue
        known.add(folder.name)
    report_unexpected(root, {*known, "splits", "dataset", "csv", *GENERATED_FOLDERS}, tree.problems)


def _make_item(path: Path, folder: VideoFolder, mask: Path | None, tree: Tree) -> Item:
    stem, kind = path.stem, CROPS if path.is_dir() else FILE
    if folder.label == REAL:
        actor = ACTOR.fullmatch(stem)
        if folder.of_actors and not actor:
            tree.problems.append(unknown_person_note(path, "<actor>__<scene>"))
        return Item(path, ORIGINAL, REAL, (f"actor-{actor[1]}" if actor else identity_from_name(stem),), stem, kind=kind)
    identities, made_from = _parse_fake_name(stem) or ((identity_from_name(stem),), ())
    if not made_from:
        tree.problems.append(unknown_person_note(path, "<target>_<source>"))
    return Item(path, folder.method, FAKE, identities, stem, made_from, mask=mask, kind=kind)


def _parse_fake_name(stem: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return the identities in a fake and the originals it was made from; None if its name does not follow a rule."""
    if actors := TWO_ACTORS.fullmatch(stem):
        target, source, scene = actors.groups()
        return (f"actor-{target}", f"actor-{source}"), (video_name(ORIGINAL, f"{target}__{scene}"),)
    if pair := TARGET_AND_SOURCE.fullmatch(stem):
        return tuple(map(identity_from_name, pair.groups())), tuple(video_name(ORIGINAL, name) for name in pair.groups())
    return None


def _read_official_pairs(folders: Sequence[Path]) -> dict[tuple[str, ...], str]:
    """Return the split of each pair. The lists are in `splits`, in dataset/splits as published, or in the root."""
    for folder in folders:
        for lists in (folder / "splits", folder / "dataset" / "splits", folder):
            if pairs := _read_pairs(lists):
                return pairs
    return {}


def _read_pairs(folder: Path) -> dict[tuple[str, ...], str]:
    pairs: dict[tuple[str, ...], str] = {}
    splits: dict[str, str] = {}
    for name, split in OFFICIAL_FILES.items():
        path = folder / name
        for pair in _pairs_in(path) if path.is_file() else ():
            pairs[pair] = split
            for identity in pair:
                if splits.setdefault(identity, split) != split:
                    raise UserError(f"{path}: '{identity}' is in {splits[identity]} too; a person must be in one split only")
    return pairs


def _pairs_in(path: Path) -> list[tuple[str, ...]]:
    try:
        return [tuple(str(identity) for identity in pair) for pair in json.loads(path.read_text())]
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is not a JSON list of pairs of identities") from error


def _missing_items(tree: Tree, folders: list[VideoFolder], pairs: dict[tuple[str, ...], str]) -> Iterator[Item]:
    """Yield missing videos of the official lists: of each person, and of each pair in both directions for each method."""
    present = {item.video for item in tree.items}
    for folder in folders:
        if folder.label == REAL and not folder.of_actors:
            names: list[tuple[str, ...]] = [(identity,) for pair in pairs for identity in pair]
        elif folder.method in OFFICIAL_METHODS:
            names = [ordered for pair in pairs for ordered in (pair, pair[::-1])]
        else:
            continue
        for identities in names:
            stem = "_".join(identities)
            if f"{folder.method}/{stem}" not in present:
                yield Item(folder.videos / f"{stem}.mp4", folder.method, folder.label, identities, stem)


LAYOUT = Layout(f"{ORIGINALS}/ and {MANIPULATED}/, or folders of its methods", is_root, read)
