"""DEEPERFORENSICS: DeeperForensics-1.0.

manipulated_videos/<variant>/<target>_<actor>.mp4    fake: FaceForensics++'s video of that id with the actor's face
source_videos/<actor>/.../<actor>_....mp4            real: the actors as they were recorded
lists/splits/{train,val,test}.txt                    names of fakes
original_sequences/youtube/c23/videos/<id>.mp4       real: the targets. They are FaceForensics++'s and have to be put here
"""

import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import UserError
from pipeline.index import FAKE, ORIGINAL, REAL
from preprocessing.corpus.layouts.faceforensics import ORIGINALS, videos_of
from preprocessing.corpus.layouts.tree import (
    OURS,
    Item,
    Layout,
    Tree,
    entries_of,
    files_below,
    identity_of,
    is_media,
    media_in,
    not_a_video,
    own_person,
    report_strays,
)

FAKES, SOURCES, LISTS = "manipulated_videos", "source_videos", "lists"
VARIANTS = re.compile(r"end_to_end.*|reenact_postprocess.*")
OF_TARGET_AND_ACTOR = re.compile(r"(\d{3})_([MW]\d+)")
OF_ACTOR = re.compile(r"([MW]\d+)_.+")
OFFICIAL_FILES = {"train.txt": "training_set", "val.txt": "validation_set", "test.txt": "test_set"}


def is_root(folder: Path) -> bool:
    if not (folder / FAKES).is_dir():
        return False
    variants = entries_of(folder / FAKES)[0]
    return bool(variants) and ((folder / SOURCES).is_dir() or any(VARIANTS.fullmatch(path.name) for path in variants))


def read(root: Path, data_path: Path, compression: str) -> Tree:
    tree = Tree("DEEPERFORENSICS", root)
    report_strays(root, {FAKES, SOURCES, LISTS, ORIGINALS, *OURS}, tree.unfit)
    splits = _official_splits(root / LISTS / "splits")
    variants = entries_of(root / FAKES)[0]
    report_strays(root / FAKES, {variant.name for variant in variants}, tree.unfit)
    for variant in variants:
        tree.items += [_fake(path, splits, tree) for path in media_in(variant, tree.unfit)]
        there = {item.stem for item in tree.items if item.method == variant.name}
        tree.missing += [_fake(variant / f"{stem}.mp4", splits, tree) for stem in splits if stem not in there]
    tree.items += _actors(root / SOURCES, tree)
    targets = videos_of(root / ORIGINALS / "youtube", compression, tree)
    for path in media_in(targets, tree.unfit) if targets else ():
        tree.items.append(Item(path, ORIGINAL, REAL, (identity_of(path.stem),), path.stem))
    if not tree.items:
        raise UserError(f"no videos below {root}, in {FAKES}/<variant>/ and {SOURCES}/")
    if not targets:
        tree.notes.append(
            "the videos that the fakes were made of are not here: put FaceForensics++'s originals into "
            f"{root / ORIGINALS}/youtube/{compression}/videos, and fakes are trained on and shown beside them"
        )
    if not splits:
        tree.notes.append(f"there are no official lists in {root / LISTS}/splits, so the splits are drawn")
    for item in (*tree.items, *tree.missing):
        if item.split:
            tree.official |= {identity: item.split for identity in item.identities if identity not in tree.official}
    return tree


def _official_splits(folder: Path) -> dict[str, str]:
    """The split of each fake, by its stem."""
    splits: dict[str, str] = {}
    for name, split in OFFICIAL_FILES.items():
        path = folder / name
        for line in path.read_text(encoding="utf-8-sig").splitlines() if path.is_file() else ():
            stem = Path(line.strip().replace("\\", "/")).stem
            if stem and splits.setdefault(stem, split) != split:
                raise UserError(f"{path}: '{stem}' stands in the list of the {splits[stem]} too; fetch the lists again")
    return splits


def _fake(path: Path, splits: dict[str, str], tree: Tree) -> Item:
    variant, both = path.parent.name, OF_TARGET_AND_ACTOR.fullmatch(path.stem)
    if not both:
        tree.unfit.append(own_person(path, "<target>_<actor>, such as 000_M101"))
        return Item(path, variant, FAKE, (identity_of(path.stem),), path.stem, split=splits.get(path.stem, ""))
    return Item(path, variant, FAKE, both.groups(), path.stem, (f"{ORIGINAL}/{both[1]}",), splits.get(path.stem, ""))


def _actors(folder: Path, tree: Tree) -> Iterator[Item]:
    for path in files_below(folder) if folder.is_dir() else ():
        if not is_media(path):
            tree.unfit.append(not_a_video(path))
            continue
        below = path.relative_to(folder).parts
        named = OF_ACTOR.fullmatch(path.stem)
        if len(below) == 1 and not named:
            tree.unfit.append(own_person(path, "<actor>_..., such as M101_light_uniform_happy_camera_front"))
        person = below[0] if len(below) > 1 else named[1] if named else path.stem
        yield Item(path, ORIGINAL, REAL, (identity_of(person),), path.stem)


LAYOUT = Layout(f"{FAKES}/<variant>/ and {SOURCES}/", is_root, read)
