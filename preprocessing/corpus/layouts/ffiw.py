"""FFIW: Face Forensics in the Wild, several people in most videos, of whom some are fake.

source/{train,val,test}/<name>.mp4          real
target/{train,val,test}/<name>.mp4          fake, made from the source of the same name
target_mask/{train,val,test}/<name>.mp4     mask of the fake
"""

from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import FAKE, ORIGINAL, REAL
from explain_deepfakes.preprocessing.corpus.layouts.tree import (
    GENERATED_FOLDERS,
    Item,
    Layout,
    Tree,
    TreeOptions,
    collect_media,
    identity_from_name,
    list_entries,
    parse_split,
    report_unexpected,
    video_name,
)

REALS, FAKES, MASKS = "source", "target", "target_mask"


def is_root(folder: Path) -> bool:
    return all((folder / name).is_dir() for name in (REALS, FAKES)) and any(
        parse_split(path.name) for path in list_entries(folder / FAKES)[0]
    )


def read(root: Path, data_path: Path, options: TreeOptions) -> Tree:
    tree = Tree("FFIW", root)
    report_unexpected(root, {REALS, FAKES, MASKS, *GENERATED_FOLDERS}, tree.problems)
    for name in (REALS, FAKES):
        splits = [path for path in list_entries(root / name)[0] if parse_split(path.name)]
        report_unexpected(root / name, {path.name for path in splits}, tree.problems)
        for folder in splits:
            tree.items += [_make_item(path, name) for path in collect_media(folder, tree.problems)]
    if not tree.items:
        raise UserError(f"no videos below {root}, in {REALS}/train/ and {FAKES}/train/")
    return tree


def _make_item(path: Path, kind: str) -> Item:
    identities, split = (identity_from_name(path.stem),), parse_split(path.parent.name)
    if kind == REALS:
        return Item(path, ORIGINAL, REAL, identities, path.stem, split=split)
    mask = path.parents[2] / MASKS / path.parent.name / path.name
    made_from = (video_name(ORIGINAL, path.stem),)
    return Item(path, "FFIW", FAKE, identities, path.stem, made_from, split, mask if mask.is_file() else None)


LAYOUT = Layout(f"{REALS}/ and {FAKES}/ with train/, val/ and test/", is_root, read)
