"""FOLDER: class folders of videos or pictures, as most people lay out their own data.

    real/a.mp4, fake/b.mp4                  or Real_youtube/, FaceSwap/, ...: each that is not real is a method
    train/real/, val/fake/, real/test/      a folder named after a split, above or below, gives it
    real/anna/1.mp4                         files of one folder below belong together, like those of one person
    metadata.json                           optional, beside the class folders: what is known of each file

In metadata.json, a file goes by its path from there, or by its name if that is unique. What may be said of it: `label`
(0, 1, real, fake), `split` (train, val, test), `identity` (one or a list), `original` (the file a fake was made of),
`method` (of a fake). Files that lie beside it, in no class folder, need a label.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.errors import UserError
from pipeline.index import FAKE, ORIGINAL, REAL
from preprocessing.layouts.faceforensics import OFFICIAL_METHODS, OTHER_METHODS
from preprocessing.layouts.tree import (
    IMAGE_SUFFIXES,
    OURS,
    VIDEO_SUFFIXES,
    Item,
    Layout,
    Tree,
    Unfit,
    class_label,
    contradictions,
    entries_of,
    files_below,
    identity_of,
    is_media,
    label_of_word,
    listed,
    not_a_video,
    report_strays,
    split_of_word,
)

METADATA = "metadata.json"
MEDIA = VIDEO_SUFFIXES | IMAGE_SUFFIXES
KNOWN_METHODS = (*OFFICIAL_METHODS, *OTHER_METHODS)
PLAIN_FAKE = "fake"  # the method of a fake that lies in no class folder


@dataclass(frozen=True)
class File:
    """A file, and what its folders say of it."""

    path: Path
    stem: str
    label: int | None = None
    method: str = ""  # of a fake
    split: str = ""
    person: str = ""


@dataclass(frozen=True)
class Listed:
    """What a metadata.json says of a file."""

    label: int | None = None
    split: str = ""
    identities: tuple[str, ...] = ()
    method: str = ""
    original: str = ""
    original_file: File | None = None  # where it is in the tree


NOTHING = Listed()


def is_root(folder: Path) -> bool:
    bases = (folder, *_split_folders(folder))
    return any(_class_folders(base) for base in bases) or _is_flat(folder)


def _split_folders(folder: Path) -> list[Path]:
    return [path for path in entries_of(folder)[0] if split_of_word(path.name) and path.name not in OURS]


def _class_folders(folder: Path) -> list[Path]:
    """The folders of one class each, if by its name one of them at least is of real videos or of fakes."""
    folders = [path for path in entries_of(folder)[0] if path.name not in OURS and not split_of_word(path.name)]
    telling = (class_label(path.name) is not None or path.name in KNOWN_METHODS for path in folders)
    return folders if any(telling) else []


def _is_flat(folder: Path) -> bool:
    if not (folder / METADATA).is_file():
        return False
    entries = _entries_in(folder / METADATA)
    return any("label" in entry and is_media(folder / name, MEDIA) for name, entry in entries.items())


def read(root: Path, data_path: Path, compression: str) -> Tree:
    tree = Tree("FOLDER", root)
    bases = [root, *(folder for folder in _split_folders(root) if _class_folders(folder))]
    files = [file for base in bases for file in _files_of(base, base if base != root else None, tree)]
    known = {path.name for base in bases for path in _class_folders(base)} | {base.name for base in bases}
    report_strays(root, {*known, *OURS, *(file.path.name for file in files if file.path.parent == root)}, tree.unfit)
    scopes = [*bases, *(folder for base in bases for folder in _class_folders(base))]
    tree.items = list(_items(files, _listed_in(scopes, files, tree), tree))
    if not tree.items:
        raise UserError(f"no videos or pictures with a label below {root}; there is: {_entries_text(root)}")
    return tree


def _entries_text(folder: Path) -> str:
    return listed([path.name for entries in entries_of(folder) for path in entries]) or "nothing"


def _files_of(base: Path, split_folder: Path | None, tree: Tree) -> Iterator[File]:
    split = split_of_word(split_folder.name) if split_folder else ""
    above = (split_folder.name,) if split_folder else ()
    folders = _class_folders(base)
    several_real = sum(class_label(folder.name) == REAL for folder in folders) > 1
    for folder in folders:
        label = _label_of(folder, tree)
        prefix = (*above, folder.name) if label == REAL and several_real else above
        yield from _files_in(folder, label, split, prefix, tree)
    for path in entries_of(base)[1]:
        if is_media(path, MEDIA):
            yield File(path, "_".join((*above, path.stem)), split=split)


def _label_of(folder: Path, tree: Tree) -> int:
    label = class_label(folder.name)
    if label is not None or folder.name in KNOWN_METHODS:
        return FAKE if label is None else label
    if folder.name.lower().startswith("real"):
        raise UserError(f"{folder}: is it real or fake? Rename it to begin with Real_ or with Fake_")
    tree.notes.append(
        f"{folder.name} is a folder beside real ones, so its files are taken for fakes; if it is none, take it out"
    )
    return FAKE


def _files_in(folder: Path, label: int, split: str, prefix: tuple[str, ...], tree: Tree) -> Iterator[File]:
    paths = []
    for path in files_below(folder):
        if is_media(path, MEDIA):
            paths.append(path)
        elif path.name != METADATA:
            tree.unfit.append(not_a_video(path))
    # A folder that all of them lie in, such as `videos`, says nothing of any.
    shared = len(os.path.commonprefix([path.parent.relative_to(folder).parts for path in paths])) if paths else 0
    for path in paths:
        parts = path.parent.relative_to(folder).parts
        splits = [word for part in parts if (word := split_of_word(part))]
        people = [part for part in parts[shared:] if not split_of_word(part)]
        stem = "_".join((*prefix, *parts[shared:], path.stem))
        method = folder.name if label == FAKE else ""
        yield File(path, stem, label, method, splits[0] if splits else split, identity_of("-".join(people)))


def _entries_in(path: Path) -> dict[str, dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise UserError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        raise UserError(f'{path} is not like {{"a.mp4": {{"label": "fake"}}}}')
    return content


def _listed_in(scopes: Sequence[Path], files: Sequence[File], tree: Tree) -> dict[Path, Listed]:
    """What is said of each file, in the folders' metadata.json."""
    found: dict[Path, Listed] = {}
    for metadata in (scope / METADATA for scope in scopes):
        if not metadata.is_file():
            continue
        names = _names_in(metadata.parent, files)
        for name, entry in _entries_in(metadata).items():
            facts, here = _listed(entry, names, metadata, name), _find(name, names, metadata)
            if here:
                found[here.path] = facts
            else:
                tree.missing.append(_missing(metadata.parent / name, facts))
    return found


def _names_in(folder: Path, files: Sequence[File]) -> dict[str, list[File]]:
    """The files that each name may mean: a path from the folder, or a mere name."""
    names: dict[str, list[File]] = defaultdict(list)
    for file in files:
        if folder in file.path.parents:
            for name in {file.path.relative_to(folder).as_posix(), file.path.name}:
                names[name].append(file)
    return names


def _find(name: str, names: Mapping[str, list[File]], metadata: Path) -> File | None:
    files = names.get(PurePosixPath(name.replace("\\", "/")).as_posix(), [])
    if len(files) > 1:
        places = listed([file.path.relative_to(metadata.parent).as_posix() for file in files])
        raise UserError(f"{metadata}: '{name}' may be each of {places}; write it with its folder")
    return files[0] if files else None


def _listed(entry: dict[str, Any], names: Mapping[str, list[File]], metadata: Path, name: str) -> Listed:
    label, split = (entry.get(key) for key in ("label", "split"))
    if label is not None and label_of_word(label) is None:
        raise UserError(f"{metadata}: the label of '{name}' is '{label}'; it can be 0, 1, real or fake")
    if split is not None and not split_of_word(str(split)):
        raise UserError(f"{metadata}: the split of '{name}' is '{split}'; it can be train, val or test")
    identity, original = entry.get("identity"), str(entry.get("original") or "")
    people = identity if isinstance(identity, list) else [] if identity is None else [identity]
    method = str(entry.get("method") or "")
    if method in (ORIGINAL, ".", "..") or "/" in method or "\\" in method:
        raise UserError(f"{metadata}: the method of '{name}' is '{method}', which cannot be the name of a fake's folder")
    return Listed(
        label_of_word(label),
        split_of_word(str(split)),
        tuple(identity_of(str(person)) for person in people),
        method,
        original,
        _find(original, names, metadata) if original else None,
    )


def _missing(path: Path, facts: Listed) -> Item:
    label = facts.label if facts.label is not None else class_label(path.parent.name)
    people = facts.identities or (identity_of(path.stem),)
    if label == REAL:
        return Item(path, ORIGINAL, REAL, people, path.stem, split=facts.split)
    return Item(path, facts.method or PLAIN_FAKE, FAKE, people, path.stem, split=facts.split)


def _items(files: Sequence[File], said: Mapping[Path, Listed], tree: Tree) -> Iterator[Item]:
    _check_agreement(files, said, tree.root)
    unknown = 0
    for file in files:
        facts = said.get(file.path, NOTHING)
        label = facts.label if file.label is None else file.label
        if label is None:
            reason = "it lies in no class folder, and no metadata.json gives it a label"
            tree.unfit.append(Unfit(file.path, reason, "move it into real/ or fake/, or give it a label"))
            continue
        people = _named_people(file, facts)
        made_from: tuple[str, ...] = ()
        if facts.original_file:
            original = facts.original_file
            people += _people_of(original, said.get(original.path, NOTHING))
            made_from = (f"{ORIGINAL}/{original.stem}",)
        elif facts.original:
            people += (identity_of(Path(facts.original).stem),)
        unknown += not people
        people = tuple(dict.fromkeys(people)) or _people_of(file, facts)
        method = ORIGINAL if label == REAL else facts.method or file.method or PLAIN_FAKE
        yield Item(file.path, method, label, people, file.stem, made_from, file.split or facts.split)
    if unknown:
        tree.notes.append(
            f"nothing says who is in {unknown} of the {len(files)} files: each counts as a person of its own, so the same "
            f"person may be in two splits; give them an identity in {tree.root / METADATA}"
        )


def _named_people(file: File, facts: Listed) -> tuple[str, ...]:
    return facts.identities or ((file.person,) if file.person else ())


def _people_of(file: File, facts: Listed) -> tuple[str, ...]:
    """Files of one name are taken to belong together, such as a fake and its original, as long as no split parts them."""
    split = file.split or facts.split
    return _named_people(file, facts) or (identity_of(f"{split}-{file.stem}" if split else file.stem),)


def _check_agreement(files: Sequence[File], said: Mapping[Path, Listed], root: Path) -> None:
    wrong = []
    for file in files:
        facts = said.get(file.path, NOTHING)
        if {file.label, facts.label} == {REAL, FAKE} or len({file.split, facts.split} - {""}) > 1:
            wrong.append(file.path.relative_to(root).as_posix())
    if wrong:
        raise contradictions(root / METADATA, wrong, "mend the label or split there, or move them")


LAYOUT = Layout("real/ and fake/ or other class folders, or a metadata.json with labels", is_root, read)
