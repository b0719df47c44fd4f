"""FOLDER: class folders of videos or pictures, as most people lay out their own data.

    real/a.mp4, fake/b.mp4                  or Real_youtube/, FaceSwap/, ...: names that say real or fake, or a known method
    train/real/, val/fake/, real/test/      a folder named after a split, above or below, gives it
    real/anna/1.mp4                         files of one folder below belong together, like those of one person
    metadata.json                           optional, beside the class folders: what is known of each file or folder

In metadata.json, a file or folder goes by its path from there, a file by its name too if that is unique. What may be said
of it: `label` (0, 1, real, fake), `split` (train, val, test), `identity` (one or a list), `original` (the file a fake was
made of), `method` (of a fake). What is said of a folder holds for all files in it. Files in no class folder, and folders
whose names say neither real nor fake, need a label: none is guessed.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.errors import UserError
from pipeline.index import FAKE, ORIGINAL, REAL
from preprocessing.corpus.layouts.class_names import label_by_words, label_of_folder
from preprocessing.corpus.layouts.tree import (
    IMAGE_SUFFIXES,
    OURS,
    VIDEO_SUFFIXES,
    Item,
    Layout,
    Tree,
    Unfit,
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
    video_name,
)

METADATA = "metadata.json"
MEDIA = VIDEO_SUFFIXES | IMAGE_SUFFIXES
PLAIN_FAKE = "fake"  # the method of a fake that lies in no class folder


@dataclass(frozen=True)
class File:
    """A file, and what its folders say of it."""

    path: Path
    stem: str
    label: int | None = None
    method: str = ""  # if it is a fake
    split: str = ""
    person: str = ""
    class_folder: Path | None = None
    opposed_by: Path | None = None  # a folder in the class folder whose name says the opposite


@dataclass(frozen=True)
class Listed:
    """What a metadata.json says of a file, or of all in a folder."""

    label: int | None = None
    split: str = ""
    identities: tuple[str, ...] = ()
    method: str = ""
    original: str = ""
    original_file: File | None = None  # where it is in the tree


NOTHING = Listed()


def is_root(folder: Path) -> bool:
    bases = (folder, *_split_folders(folder))
    return any(_class_folders(base) for base in bases) or _is_labelled(folder)


def _split_folders(folder: Path) -> list[Path]:
    return [path for path in entries_of(folder)[0] if split_of_word(path.name) and path.name not in OURS]


def _class_folders(folder: Path) -> list[Path]:
    """The folders in it that may each be of one class, if by its name one of them at least is."""
    folders = _folders_in(folder)
    return folders if any(label_of_folder(path) is not None for path in folders) else []


def _folders_in(folder: Path) -> list[Path]:
    return [path for path in entries_of(folder)[0] if path.name not in OURS and not split_of_word(path.name)]


def _is_labelled(folder: Path) -> bool:
    return bool(_labelled_in(folder))


def _labelled_in(folder: Path) -> list[Path]:
    """The files and folders that a metadata.json in it gives a label."""
    if not (folder / METADATA).is_file():
        return []
    labelled = (folder / _as_path(name) for name, entry in _entries_in(folder / METADATA).items() if "label" in entry)
    return [path for path in labelled if path.is_dir() or is_media(path, MEDIA)]


def read(root: Path, data_path: Path, compression: str) -> Tree:
    tree = Tree("FOLDER", root)
    bases = _bases(root)
    scopes = [*bases, *(folder for folders in bases.values() for folder in folders)]
    labels = {path: facts.label for path, facts in _listed_folders(scopes).items() if facts.label is not None}
    files = [file for base in bases for file in _files_of(base, base if base != root else None, bases[base], labels, tree)]
    with_files = {file.class_folder.name for file in files if file.class_folder}
    known = {*with_files, *(base.name for base in bases), *(file.path.name for file in files if file.path.parent == root)}
    report_strays(root, {*known, *OURS}, tree.unfit)
    tree.items = list(_items(files, _listed_in(scopes, files, tree), tree))
    if not tree.items:
        raise UserError(f"no videos or pictures with a label below {root}; there is: {_entries_text(root)}")
    return tree


def _bases(root: Path) -> dict[Path, list[Path]]:
    """The root and the split folders in it that hold class folders, and these."""
    inside = {above for path in _labelled_in(root) for above in path.parents}
    splits = (path for path in _split_folders(root) if _class_folders(path) or _is_labelled(path) or path in inside)
    bases = {root: _folders_in(root) if _class_folders(root) or _is_labelled(root) else []}
    return {**bases, **{path: _folders_in(path) for path in splits}}


def _entries_text(folder: Path) -> str:
    return listed([path.name for entries in entries_of(folder) for path in entries]) or "nothing"


def _files_of(
    base: Path, split_folder: Path | None, class_folders: Sequence[Path], labels: Mapping[Path, int], tree: Tree
) -> Iterator[File]:
    split = split_of_word(split_folder.name) if split_folder else ""
    above = (split_folder.name,) if split_folder else ()
    classes = {folder: label_of_folder(folder) for folder in class_folders}
    classes = {folder: labels.get(folder) if label is None else label for folder, label in classes.items()}
    several_real = list(classes.values()).count(REAL) > 1
    for folder, label in classes.items():
        prefix = (*above, folder.name) if label == REAL and several_real else above
        yield from _files_in(folder, label, split, prefix, tree)
    for path in entries_of(base)[1]:
        if is_media(path, MEDIA):
            yield File(path, "_".join((*above, path.stem)), split=split)


def _files_in(folder: Path, label: int | None, split: str, prefix: tuple[str, ...], tree: Tree) -> Iterator[File]:
    paths = []
    for path in files_below(folder):
        if is_media(path, MEDIA):
            paths.append(path)
        elif path.name != METADATA and label is not None:
            tree.unfit.append(not_a_video(path))
    # A folder that all of them lie in, such as `videos`, says nothing of any.
    shared = len(os.path.commonprefix([path.parent.relative_to(folder).parts for path in paths])) if paths else 0
    for path in paths:
        parts = path.parent.relative_to(folder).parts
        splits = [word for part in parts if (word := split_of_word(part))]
        people = [part for part in parts[shared:] if not split_of_word(part)]
        yield File(
            path,
            "_".join((*prefix, *parts[shared:], path.stem)),
            label,
            folder.name,
            splits[0] if splits else split,
            identity_of("-".join(people)),
            folder,
            _opposed_by(folder, parts, label),
        )


def _opposed_by(folder: Path, parts: tuple[str, ...], label: int | None) -> Path | None:
    opposed = (number for number, part in enumerate(parts, 1) if label is not None and label_by_words(part) == 1 - label)
    number = next(opposed, None)
    return folder.joinpath(*parts[:number]) if number else None


def _entries_in(path: Path) -> dict[str, dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise UserError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        raise UserError(f'{path} is not like {{"a.mp4": {{"label": "fake"}}}}')
    return content


def _listed_in(scopes: Iterable[Path], files: Sequence[File], tree: Tree) -> dict[Path, Listed]:
    """What is said of each file, in the folders' metadata.json; what is said of itself comes before what is of its folders."""
    folders, found = _listed_folders(scopes), dict[Path, Listed]()
    for metadata, entries in _entries(scopes):
        names = _names_in(metadata.parent, files)
        for name, entry in entries.items():
            if metadata.parent / name in folders:
                continue
            facts, here = _listed(entry, names, metadata, name), _find(name, names, metadata)
            if here:
                found[here.path] = facts
            else:
                _add_missing(metadata.parent / name, facts, tree)
    for file in files if folders else ():
        for above in (path for path in file.path.parents if path in folders):
            found[file.path] = _completed(found.get(file.path, NOTHING), folders[above])
    return found


def _entries(scopes: Iterable[Path]) -> Iterator[tuple[Path, dict[str, dict[str, Any]]]]:
    for metadata in (scope / METADATA for scope in scopes):
        if metadata.is_file():
            yield metadata, {_as_path(name): entry for name, entry in _entries_in(metadata).items()}


def _as_path(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).as_posix()


def _listed_folders(scopes: Iterable[Path]) -> dict[Path, Listed]:
    """What is said of whole folders."""
    return {
        metadata.parent / name: _listed(entry, {}, metadata, name)
        for metadata, entries in _entries(scopes)
        for name, entry in entries.items()
        if Path(name).suffix.lower() not in MEDIA and (metadata.parent / name).is_dir()
    }


def _completed(facts: Listed, of_folder: Listed) -> Listed:
    return replace(
        facts,
        label=of_folder.label if facts.label is None else facts.label,
        split=facts.split or of_folder.split,
        identities=facts.identities or of_folder.identities,
        method=facts.method or of_folder.method,
    )


def _names_in(folder: Path, files: Sequence[File]) -> dict[str, list[File]]:
    """The files that each name may mean: a path from the folder, or a mere name."""
    names: dict[str, list[File]] = defaultdict(list)
    for file in files:
        if folder in file.path.parents:
            for name in {file.path.relative_to(folder).as_posix(), file.path.name}:
                names[name].append(file)
    return names


def _find(name: str, names: Mapping[str, list[File]], metadata: Path) -> File | None:
    files = names.get(_as_path(name), [])
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


def _add_missing(path: Path, facts: Listed, tree: Tree) -> None:
    label = facts.label if facts.label is not None else label_of_folder(path.parent) if path.parent.is_dir() else None
    people = facts.identities or (identity_of(path.stem),)
    if label is None:
        tree.unfit.append(Unfit(path, f"{METADATA} names it, but it is not there", "put it back, or take out its entry"))
    elif label == REAL:
        tree.missing.append(Item(path, ORIGINAL, REAL, people, path.stem, split=facts.split))
    else:
        tree.missing.append(Item(path, facts.method or PLAIN_FAKE, FAKE, people, path.stem, split=facts.split))


def _items(files: Sequence[File], said: Mapping[Path, Listed], tree: Tree) -> Iterator[Item]:
    _check_agreement(files, said, tree.root)
    labels = {file.path: label for file in files if (label := _label_of(file, said)) is not None}
    _report_unlabelled([file for file in files if file.path not in labels], tree)
    labelled = [file for file in files if file.path in labels]
    unknown, fakes_of_unknown = 0, 0
    for file in labelled:
        label, facts = labels[file.path], said.get(file.path, NOTHING)
        people = _named_people(file, facts)
        made_from: tuple[str, ...] = ()
        if facts.original_file:
            original = facts.original_file
            people += _people_of(original, said.get(original.path, NOTHING))
            if original.path in labels:
                method = _method_of(original, labels[original.path], said.get(original.path, NOTHING))
                made_from = (video_name(method, original.stem),)
        elif facts.original:
            people += (identity_of(Path(facts.original).stem),)
        unknown += not people
        fakes_of_unknown += label == FAKE and not facts.original
        people = tuple(dict.fromkeys(people)) or _people_of(file, facts)
        method = _method_of(file, label, facts)
        yield Item(file.path, method, label, people, file.stem, made_from, file.split or facts.split)
    if unknown:
        tree.notes.append(
            f"nothing says who is in {unknown} of the {len(labelled)} files: each counts as a person of its own, so the same "
            f"person may be in two splits; give them an identity in {tree.root / METADATA}"
        )
    if fakes_of_unknown:
        tree.notes.append(
            f"nothing says what {fakes_of_unknown} fakes were made of, so they are not compared with their originals; "
            f"name the original of each in {tree.root / METADATA} if it is here"
        )


def _label_of(file: File, said: Mapping[Path, Listed]) -> int | None:
    return said.get(file.path, NOTHING).label if file.label is None else file.label


def _method_of(file: File, label: int, facts: Listed) -> str:
    return ORIGINAL if label == REAL else facts.method or file.method or PLAIN_FAKE


def _report_unlabelled(files: Sequence[File], tree: Tree) -> None:
    metadata, by_folder = tree.root / METADATA, defaultdict[Path, int](int)
    for file in files:
        if file.class_folder:
            by_folder[file.class_folder] += 1
        else:
            reason = f"it lies in no class folder, and no {METADATA} gives it a label"
            tree.unfit.append(Unfit(file.path, reason, "move it into real/ or fake/, or give it a label"))
    for folder, count in by_folder.items():
        name = json.dumps(folder.relative_to(tree.root).as_posix(), ensure_ascii=False)
        remedy = f'write {{{name}: {{"label": "real"}}}} into {metadata}, or "fake" if they are'
        tree.unfit.append(Unfit(folder, "its name says neither real nor fake", remedy, skipped=count))


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
        if file.opposed_by and facts.label is None:
            inside, outside = (path.relative_to(root).as_posix() for path in (file.opposed_by, file.class_folder or root))
            label = "real" if file.label == REAL else "fake"
            raise UserError(
                f"{file.opposed_by} lies in {outside}/, but its name says the opposite; move it, or, if {label} is right, "
                f'write {{{json.dumps(inside, ensure_ascii=False)}: {{"label": "{label}"}}}} into {root / METADATA}'
            )
    if wrong:
        raise contradictions(root / METADATA, wrong, "mend the label or split there, or move them")


LAYOUT = Layout("real/ and fake/ or other folders that say so, or a metadata.json with labels", is_root, read)
