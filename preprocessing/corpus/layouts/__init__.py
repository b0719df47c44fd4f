"""Folder layouts of published corpora and of own data: a folder of videos -> its videos, identities and problems.

Each layout is a module that recognises its folder tree and reads it. docs/layouts.md describes the rules.
"""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NoReturn

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.incremental import LEDGER
from explain_deepfakes.pipeline.project import absolute
from explain_deepfakes.preprocessing.corpus.layouts import (
    celebdf,
    deeperforensics,
    deepfake_eval,
    deepspeak,
    df40,
    dfdc,
    dfdcp,
    faceforensics,
    fakeavceleb,
    ffiw,
    folder,
    forgerynet,
    kodf,
    partly_fake,
    wilddeepfake,
)
from explain_deepfakes.preprocessing.corpus.layouts.class_names import class_label
from explain_deepfakes.preprocessing.corpus.layouts.tree import (
    ALL_DOMAINS,
    ARCHIVE_SUFFIXES,
    GENERATED_FOLDERS,
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    Tree,
    TreeOptions,
    format_names,
    is_media,
    list_entries,
    parse_split,
    walk_files,
)

AUTO = "AUTO"
LAYOUTS = {  # in the order in which they are tried
    "DEEPERFORENSICS": deeperforensics.LAYOUT,  # before FACEFORENSICS, whose originals may be in it
    "FACEFORENSICS": faceforensics.LAYOUT,
    "CELEBDF": celebdf.LAYOUT,
    "DFDCP": dfdcp.LAYOUT,
    "FAKEAVCELEB": fakeavceleb.LAYOUT,
    "LAVDF": partly_fake.LAYOUT,  # also AV-Deepfake1M
    "FFIW": ffiw.LAYOUT,
    "WILDDEEPFAKE": wilddeepfake.LAYOUT,
    "FORGERYNET": forgerynet.LAYOUT,
    "DEEPFAKEEVAL": deepfake_eval.LAYOUT,
    "DF40": df40.LAYOUT,
    "DEEPSPEAK": deepspeak.LAYOUT,
    "KODF": kodf.LAYOUT,
    "DFDC": dfdc.LAYOUT,
    "FOLDER": folder.LAYOUT,
}
ALIASES = {
    "FACEFORENSIC": "FACEFORENSICS",  # the spelling of the published extraction
    "DEMO": "FACEFORENSICS",
    "AVDEEPFAKE1M": "LAVDF",
}
NAMES = (AUTO, "DEMO", *LAYOUTS)
RESULTS_HINT = "it looks like crops or boxes, made from videos: train_model.py and test_model.py read crops, as --crops"
MAX_DEPTH, MAX_HEIGHT = 2, 5  # levels below and above the named folder where the root of a tree is searched
MAX_FOLDERS = 100  # folders that are searched on each level


def read_tree(data_path: Path, dataset: str, options: TreeOptions) -> Tree:
    layout = ALIASES.get(dataset.upper(), dataset.upper())
    if layout not in (AUTO, *LAYOUTS):
        raise UserError(f"dataset '{dataset}' is not a known layout; available: {', '.join(NAMES)}")
    if not data_path.is_dir():
        raise UserError(f"data_path {data_path} is not a folder" + ("; unpack it" if data_path.is_file() else ""))
    names = list(LAYOUTS) if layout == AUTO else [layout]
    # Our own crops, and folders inside a corpus, would be taken for class folders.
    is_inside = layout == AUTO and _find_enclosing_tree(data_path, ["DEEPERFORENSICS", "FACEFORENSICS", "CELEBDF"])
    if _is_result_folder(data_path) or is_inside:
        _refuse(data_path, layout)
    name, root = _recognise(data_path, names) or _refuse(data_path, layout)
    if _layout_of(root, list(LAYOUTS)) != name:  # a layout forced on another corpus would lose the identities
        _refuse(data_path, layout)
    if options.domain != ALL_DOMAINS and name != "DF40":
        raise UserError(f"{data_path} has the layout {name}, which has no domains; set domain to {ALL_DOMAINS}")
    return LAYOUTS[name].read(root, data_path, options)


def _recognise(data_path: Path, names: list[str]) -> tuple[str, Path] | None:
    """Return the layout and its root: the folder itself, or the only folder below it that has one of the layouts."""
    for level in _levels(data_path):
        roots = [(name, path) for path in level if (name := _layout_of(path, names))]
        if len(roots) > 1:
            corpora = format_names([f"{path.relative_to(data_path)} ({name})" for name, path in roots])
            raise UserError(f"{data_path} holds several corpora: {corpora}; set data_path to one of them")
        if roots:
            return roots[0]
    return None


def _levels(data_path: Path) -> Iterator[list[Path]]:
    level = [data_path]
    for _ in range(MAX_DEPTH + 1):
        yield level
        below = (path for parent in level for path in list_entries(parent)[0] if path.name not in GENERATED_FOLDERS)
        level = list(islice(below, MAX_FOLDERS))


def _layout_of(path: Path, names: list[str]) -> str | None:
    return next((name for name in names if LAYOUTS[name].is_root(path)), None)


def _refuse(data_path: Path, layout: str) -> NoReturn:
    problem = "no known layout" if layout == AUTO else f"not the layout {layout}"
    expected = [f"{name}: {LAYOUTS[name].expected}" for name in (LAYOUTS if layout == AUTO else [layout])]
    folders, files = list_entries(data_path)
    content = format_names([f"{path.name}/" for path in folders] + [path.name for path in files]) or "nothing"
    hint = _hint(data_path)
    raise UserError(
        f"{data_path} has {problem}: searched it and {MAX_DEPTH} levels below for {' | '.join(expected)}; "
        f"it contains: {content}" + (f"; {hint}" if hint else "")
    )


def _hint(data_path: Path) -> str:
    """Return what the folder may be instead, and what to do then; empty if nothing is known about it."""
    if _is_result_folder(data_path):
        return RESULTS_HINT
    if enclosing := _find_enclosing_tree(data_path, list(LAYOUTS)):
        return f"it looks like a part of the {enclosing[0]} tree at {enclosing[1]}: set data_path to that"
    if recognised := _recognise(data_path, list(LAYOUTS)):
        return f"it looks like {recognised[0]}: set dataset to that, or to {AUTO}"
    folders, files = list_entries(data_path)
    if any(path.name in GENERATED_FOLDERS for path in folders):
        return RESULTS_HINT
    suffixes = VIDEO_SUFFIXES | IMAGE_SUFFIXES
    media = [path for path in files if is_media(path, suffixes)]
    if media:
        return f"its {len(media)} files have no labels: move them into real/ and fake/, or add a metadata.json"
    if any(path.suffix.lower() in ARCHIVE_SUFFIXES for path in files):
        return "unpack the archives first"
    unlabelled = next((path for path in folders if any(is_media(file, suffixes) for file in walk_files(path))), None)
    if unlabelled:
        return (
            f"its folders have no labels: name them real/ and fake/, or write a {folder.METADATA} into it, "
            f'such as {{{json.dumps(unlabelled.name, ensure_ascii=False)}: {{"label": "real"}}}}'
        )
    return ""


def _is_result_folder(folder: Path) -> bool:
    """Whether it is an output folder of a stage, by its name and ledger. A corpus may have a ledger too, if crops are in it."""
    return folder.name in GENERATED_FOLDERS and any((path / LEDGER).is_file() for path in (folder, folder.parent))


def _find_enclosing_tree(data_path: Path, names: list[str]) -> tuple[str, Path] | None:
    """Return the layout and the root of the tree that the folder is a part of."""
    path = absolute(data_path)
    for name in names:
        for ancestor in list(path.parents)[:MAX_HEIGHT]:
            if _is_part_of(path.relative_to(ancestor).parts[0], name) and LAYOUTS[name].is_root(ancestor):
                return name, ancestor
    return None


def _is_part_of(folder_name: str, layout: str) -> bool:
    """Whether the layout has a folder of that name directly below its root."""
    if layout == "DEEPERFORENSICS":
        return folder_name in (deeperforensics.FAKES, deeperforensics.SOURCES, faceforensics.ORIGINALS)
    if layout == "FACEFORENSICS":
        return folder_name in (faceforensics.ORIGINALS, faceforensics.MANIPULATED, *faceforensics.OFFICIAL_METHODS)
    if layout == "CELEBDF":
        return folder_name.lower() in celebdf.FOLDERS
    return layout == "FOLDER" and (class_label(folder_name) is not None or bool(parse_split(folder_name)))


__all__ = ["AUTO", "LAYOUTS", "NAMES", "read_tree"]
