"""DEEPERFORENSICS: DeeperForensics-1.0.

manipulated_videos/<variant>/<target>_<actor>.mp4    fake: the FaceForensics++ video of that id with the actor's face
source_videos/<actor>/.../<actor>_....mp4            real: recordings of the actors
lists/splits/{train,val,test}.txt                    names of fakes
original_sequences/youtube/c23/videos/<id>.mp4       real: the targets, to be copied here from FaceForensics++
"""

import re
from collections.abc import Iterator
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import FAKE, ORIGINAL, REAL
from explain_deepfakes.preprocessing.corpus.layouts.faceforensics import ORIGINALS, find_videos_folder
from explain_deepfakes.preprocessing.corpus.layouts.tree import (
    GENERATED_FOLDERS,
    Item,
    Layout,
    Tree,
    TreeOptions,
    collect_media,
    identity_from_name,
    is_media,
    list_entries,
    non_video_problem,
    report_unexpected,
    unknown_person_note,
    walk_files,
)

FAKES, SOURCES, LISTS = "manipulated_videos", "source_videos", "lists"
VARIANTS = re.compile(r"end_to_end.*|reenact_postprocess.*")
TARGET_AND_ACTOR = re.compile(r"(\d{3})_([MW]\d+)")
ACTOR = re.compile(r"([MW]\d+)_.+")
OFFICIAL_FILES = {"train.txt": "training_set", "val.txt": "validation_set", "test.txt": "test_set"}


def is_root(folder: Path) -> bool:
    if not (folder / FAKES).is_dir():
        return False
    variants = list_entries(folder / FAKES)[0]
    return bool(variants) and ((folder / SOURCES).is_dir() or any(VARIANTS.fullmatch(path.name) for path in variants))


def read(root: Path, data_path: Path, options: TreeOptions) -> Tree:
    tree = Tree("DEEPERFORENSICS", root)
    report_unexpected(root, {FAKES, SOURCES, LISTS, ORIGINALS, *GENERATED_FOLDERS}, tree.problems)
    splits = _read_official_splits(root / LISTS / "splits")
    variants = list_entries(root / FAKES)[0]
    report_unexpected(root / FAKES, {variant.name for variant in variants}, tree.problems)
    for variant in variants:
        tree.items += [_make_fake(path, splits, tree) for path in collect_media(variant, tree.problems)]
        present = {item.stem for item in tree.items if item.method == variant.name}
        tree.missing += [_make_fake(variant / f"{stem}.mp4", splits, tree) for stem in splits if stem not in present]
    tree.items += _read_actors(root / SOURCES, tree)
    targets = find_videos_folder(root / ORIGINALS / "youtube", options.compression, tree)
    for path in collect_media(targets, tree.problems) if targets else ():
        tree.items.append(Item(path, ORIGINAL, REAL, (identity_from_name(path.stem),), path.stem))
    if not tree.items:
        raise UserError(f"no videos below {root}, in {FAKES}/<variant>/ and {SOURCES}/")
    if not targets:
        tree.notes.append(
            "the target videos of the fakes are missing: copy the originals of FaceForensics++ to "
            f"{root / ORIGINALS}/youtube/{options.compression}/videos to train on pairs and show fakes beside their originals"
        )
    if not splits:
        tree.notes.append(f"there are no official lists in {root / LISTS}/splits, so the splits are assigned by hash")
    for item in (*tree.items, *tree.missing):
        if item.split:
            tree.official |= {identity: item.split for identity in item.identities if identity not in tree.official}
    return tree


def _read_official_splits(folder: Path) -> dict[str, str]:
    """Return the split of each fake by its stem."""
    splits: dict[str, str] = {}
    for name, split in OFFICIAL_FILES.items():
        path = folder / name
        for line in path.read_text(encoding="utf-8-sig").splitlines() if path.is_file() else ():
            stem = Path(line.strip().replace("\\", "/")).stem
            if stem and splits.setdefault(stem, split) != split:
                raise UserError(f"{path}: '{stem}' is also in the list of the {splits[stem]}; download the lists again")
    return splits


def _make_fake(path: Path, splits: dict[str, str], tree: Tree) -> Item:
    variant, pair = path.parent.name, TARGET_AND_ACTOR.fullmatch(path.stem)
    if not pair:
        tree.problems.append(unknown_person_note(path, "<target>_<actor>, such as 000_M101"))
        return Item(path, variant, FAKE, (identity_from_name(path.stem),), path.stem, split=splits.get(path.stem, ""))
    return Item(path, variant, FAKE, pair.groups(), path.stem, (f"{ORIGINAL}/{pair[1]}",), splits.get(path.stem, ""))


def _read_actors(folder: Path, tree: Tree) -> Iterator[Item]:
    for path in walk_files(folder) if folder.is_dir() else ():
        if not is_media(path):
            tree.problems.append(non_video_problem(path))
            continue
        parts = path.relative_to(folder).parts
        actor = ACTOR.fullmatch(path.stem)
        if len(parts) == 1 and not actor:
            tree.problems.append(unknown_person_note(path, "<actor>_..., such as M101_light_uniform_happy_camera_front"))
        person = parts[0] if len(parts) > 1 else actor[1] if actor else path.stem
        yield Item(path, ORIGINAL, REAL, (identity_from_name(person),), path.stem)


LAYOUT = Layout(f"{FAKES}/<variant>/ and {SOURCES}/", is_root, read)
