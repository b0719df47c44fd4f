"""FACEFORENSICS: the tree of FaceForensics++, as its download leaves it, and of the demo corpus.

    original_sequences/youtube/<compression>/videos/<id>.mp4                        real
    original_sequences/actors/<compression>/videos/<actor>__<scene>.mp4             real, those of DeepFakeDetection
    manipulated_sequences/<Method>/<compression>/videos/<target>_<source>.mp4       fake: both people are in it
    manipulated_sequences/DeepFakeDetection/…/<target>_<source>__<scene>__<code>.mp4  fake, of two actors
    manipulated_sequences/<Method>/masks/videos/<the fake's name>                   where it was changed, if known
    splits/{train,val,test}.json                                                    pairs of ids; also in dataset/splits

Or flat, as it is passed on: original/<id>.mp4 and <Method>/<target>_<source>.mp4, all of one compression.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UserError
from pipeline.index import DRAWN_BY_US, FAKE, MADE_OF_PORTRAITS, ORIGINAL, REAL
from preprocessing.corpus.layouts.class_names import class_label
from preprocessing.corpus.layouts.tree import (
    OURS,
    Item,
    Layout,
    Tree,
    Unfit,
    entries_of,
    identity_of,
    is_media,
    listed,
    media_in,
    own_person,
    report_strays,
    video_name,
)

ORIGINALS, MANIPULATED = "original_sequences", "manipulated_sequences"
OFFICIAL_METHODS = ("Deepfakes", "Face2Face", "FaceShifter", "FaceSwap", "NeuralTextures")  # each of every pair
OTHER_METHODS = ("DeepFakeDetection",)
COMPRESSIONS = ("raw", "c0", "c23", "c40")
SAME_COMPRESSION = {"raw": ("raw", "c0"), "c0": ("c0", "raw")}  # older downloads call the uncompressed ones c0
OFFICIAL_FILES = {"train.json": "training_set", "val.json": "validation_set", "test.json": "test_set"}
OF_TWO_IDS = re.compile(r"\d{3}_\d{3}")
TARGET_AND_SOURCE = re.compile(r"([^_]+)_([^_]+)")
OF_ACTOR = re.compile(r"(\d+)__.+")
OF_TWO_ACTORS = re.compile(r"(\d+)_(\d+)__(.+)__[^_]+")


@dataclass(frozen=True)
class Place:
    """A folder of videos of one method, or of one kind of originals."""

    videos: Path
    masks: Path
    method: str
    label: int
    of_actors: bool = False


def is_root(folder: Path) -> bool:
    return (folder / ORIGINALS).is_dir() or (folder / MANIPULATED).is_dir() or _is_flat(folder)


def _is_flat(folder: Path) -> bool:
    methods = (folder / method for method in (*OFFICIAL_METHODS, *OTHER_METHODS) if (folder / method).is_dir())
    videos = (path for method in methods for path in entries_of(method)[1] if is_media(path))
    return any(OF_TWO_IDS.fullmatch(path.stem) or OF_TWO_ACTORS.fullmatch(path.stem) for path in videos)


def read(root: Path, data_path: Path, compression: str) -> Tree:
    # A corpus of ours is known by its ledger, not by the name it is read under: nobody may take drawings for faces, or
    # animated portraits for FaceForensics++.
    ours = (name for ledger, name in ((DRAWN_BY_US, "DEMO"), (MADE_OF_PORTRAITS, "PORTRAITS")) if (root / ledger).is_file())
    tree = Tree(next(ours, "FACEFORENSICS"), root)
    places = list(_flat_places(root, tree) if _is_flat(root) else _places(root, compression, tree))
    for place in places:
        masks = {path.name: path for path in media_in(place.masks, tree.unfit)}
        for path in media_in(place.videos, tree.unfit):
            tree.items.append(_item(path, place, masks.get(path.name), tree))
    if not tree.items:
        others = {name for path in root.glob("*_sequences/*/*") if path.is_dir() for name in COMPRESSIONS if path.name == name}
        raise UserError(f"no videos of compression '{compression}' below {root}; there are: {listed(others) or 'none at all'}")
    pairs = _official_pairs([root, *(folder for folder in root.parents if folder.is_relative_to(data_path))])
    if not pairs:
        tree.notes.append(
            "there are no official lists, so the splits are drawn; put train.json, val.json and test.json into splits/"
        )
    tree.official = {identity: split for pair, split in pairs.items() for identity in pair}
    if tree.dataset != "DEMO":  # which has people whom nobody made a fake of
        tree.missing = list(_missing(tree, places, pairs))
    return tree


def _places(root: Path, compression: str, tree: Tree) -> Iterator[Place]:
    report_strays(root, {ORIGINALS, MANIPULATED, "splits", "dataset", *OURS}, tree.unfit)
    for kind in ("youtube", "actors"):
        if videos := videos_of(root / ORIGINALS / kind, compression, tree):
            yield Place(videos, root / ORIGINALS / kind / "masks/videos", ORIGINAL, REAL, kind == "actors")
    if (root / ORIGINALS).is_dir():
        report_strays(root / ORIGINALS, {"youtube", "actors"}, tree.unfit)
    if (root / MANIPULATED).is_dir():
        methods = entries_of(root / MANIPULATED)[0]
        report_strays(root / MANIPULATED, {method.name for method in methods}, tree.unfit)
        for method in methods:
            if videos := videos_of(method, compression, tree):
                yield Place(videos, method / "masks/videos", method.name, FAKE)


def videos_of(folder: Path, compression: str, tree: Tree) -> Path | None:
    """The folder of the videos of that compression, with or without a folder `videos` in it."""
    if not folder.is_dir():
        return None
    report_strays(folder, {*COMPRESSIONS, "masks", "models"}, tree.unfit)
    for name in SAME_COMPRESSION.get(compression, (compression,)):
        if (folder / name / "videos").is_dir():
            return folder / name / "videos"
        if (folder / name).is_dir() and any(map(is_media, entries_of(folder / name)[1])):
            return folder / name
    others = [name for name in COMPRESSIONS if (folder / name).is_dir()]
    if others:
        reason = f"it has no compression {compression}, only {', '.join(others)}, so it is left out"
        tree.unfit.append(Unfit(folder, reason, "fetch it in that compression too, or set compression to another"))
    return None


def _flat_places(root: Path, tree: Tree) -> Iterator[Place]:
    known = set()
    for folder in entries_of(root)[0]:
        if class_label(folder.name) == REAL:
            yield Place(folder, folder / "masks", ORIGINAL, REAL)
        elif folder.name in (*OFFICIAL_METHODS, *OTHER_METHODS):
            yield Place(folder, folder / "masks", folder.name, FAKE)
        else:
            continue
        known.add(folder.name)
    report_strays(root, {*known, "splits", "dataset", "csv", *OURS}, tree.unfit)


def _item(path: Path, place: Place, mask: Path | None, tree: Tree) -> Item:
    stem = path.stem
    if place.label == REAL:
        actor = OF_ACTOR.fullmatch(stem)
        if place.of_actors and not actor:
            tree.unfit.append(own_person(path, "<actor>__<scene>"))
        return Item(path, ORIGINAL, REAL, (f"actor-{actor[1]}" if actor else identity_of(stem),), stem)
    people, made_from = _people_of_fake(stem) or ((identity_of(stem),), ())
    if not made_from:
        tree.unfit.append(own_person(path, "<target>_<source>"))
    return Item(path, place.method, FAKE, people, stem, made_from, mask=mask)


def _people_of_fake(stem: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Who is in it, and which originals it was made of."""
    if actors := OF_TWO_ACTORS.fullmatch(stem):
        target, source, scene = actors.groups()
        return (f"actor-{target}", f"actor-{source}"), (video_name(ORIGINAL, f"{target}__{scene}"),)
    if both := TARGET_AND_SOURCE.fullmatch(stem):
        return tuple(map(identity_of, both.groups())), tuple(video_name(ORIGINAL, one) for one in both.groups())
    return None


def _official_pairs(folders: Sequence[Path]) -> dict[tuple[str, ...], str]:
    """The split of each pair of people. The lists lie in the tree or beside it, perhaps as in the published repository."""
    for folder in folders:
        for place in (folder / "splits", folder / "dataset" / "splits"):
            if pairs := _read_pairs(place):
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
                    raise UserError(f"{path}: '{identity}' stands in {splits[identity]} too; a person belongs in one split")
    return pairs


def _pairs_in(path: Path) -> list[tuple[str, ...]]:
    try:
        return [tuple(str(identity) for identity in pair) for pair in json.loads(path.read_text())]
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is not a JSON list of pairs of identities") from error


def _missing(tree: Tree, places: list[Place], pairs: dict[tuple[str, ...], str]) -> Iterator[Item]:
    """What the official lists name and the tree has not: each person, and each pair both ways, of the methods in the tree."""
    there = {item.video for item in tree.items}
    for place in places:
        if place.label == REAL and not place.of_actors:
            wanted: list[tuple[str, ...]] = [(identity,) for pair in pairs for identity in pair]
        elif place.method in OFFICIAL_METHODS:
            wanted = [way for pair in pairs for way in (pair, pair[::-1])]
        else:
            continue
        for people in wanted:
            stem = "_".join(people)
            if f"{place.method}/{stem}" not in there:
                yield Item(place.videos / f"{stem}.mp4", place.method, place.label, people, stem)


LAYOUT = Layout(f"{ORIGINALS}/ and {MANIPULATED}/, or folders of its methods", is_root, read)
