"""FOLDER: class folders of videos or pictures, the usual layout of own data.

    real/a.mp4, fake/b.mp4                  or Real_youtube/, FaceSwap/, ...: names that contain real or fake, or a known method
    train/real/, val/fake/, real/test/      folders named after a split, above or below a class folder
    real/anna/1.mp4                         the files of a subfolder count as videos of the same person
    metadata.json                           optional, beside the class folders: metadata of files and folders

In metadata.json, the key of a file or folder is its relative path; for a file, its name is enough if it is unique. Possible
fields: `label` (0, 1, real, fake), `split` (train, val, test), `identity` (one or a list), `original` (the source file of a
fake), `method` (of a fake). The fields of a folder apply to all files in it. Files outside class folders, and folders whose
names imply neither real nor fake, need a label: none is guessed.
"""

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypedDict

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import CROPS, FAKE, FILE, FRAMES, ORIGINAL, REAL
from explain_deepfakes.preprocessing.corpus.layouts.class_names import label_by_words, label_of_folder
from explain_deepfakes.preprocessing.corpus.layouts.tree import (
    GENERATED_FOLDERS,
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    Item,
    Layout,
    Tree,
    TreeOptions,
    TreeProblem,
    contradiction_error,
    format_names,
    identity_from_name,
    is_media,
    list_entries,
    non_video_problem,
    parse_label,
    parse_split,
    report_unexpected,
    video_name,
    walk_files,
)

METADATA = "metadata.json"
MEDIA = VIDEO_SUFFIXES | IMAGE_SUFFIXES
AUTO, SINGLE = "auto", "single"  # of the setting `pictures`
PLAIN_FAKE = "fake"  # method of a fake outside class folders


class JsonEntry(TypedDict, total=False):
    """The value of a key in metadata.json, as the user wrote it."""

    label: int | str
    split: str
    identity: str | list[str]
    original: str
    method: str


@dataclass(frozen=True)
class MediaFile:
    """A file with the metadata that its folders imply."""

    path: Path
    stem: str
    label: int | None = None
    method: str = ""  # its method if it is a fake
    split: str = ""
    person: str = ""
    class_folder: Path | None = None
    kind: str = FILE
    opposed_by: Path | None = None  # folder inside the class folder whose name implies the opposite label


@dataclass(frozen=True)
class Metadata:
    """The entry of a file or folder in a metadata.json, parsed."""

    label: int | None = None
    split: str = ""
    identities: tuple[str, ...] = ()
    method: str = ""
    original: str = ""
    original_file: MediaFile | None = None  # if it is in the tree


NO_METADATA = Metadata()


def is_root(folder: Path) -> bool:
    bases = (folder, *_split_folders(folder))
    return any(_class_folders(base) for base in bases) or _is_labelled(folder)


def _split_folders(folder: Path) -> list[Path]:
    return [path for path in list_entries(folder)[0] if parse_split(path.name) and path.name not in GENERATED_FOLDERS]


def _class_folders(folder: Path) -> list[Path]:
    """Return the folders that may be class folders, if the name of at least one implies a label."""
    folders = _subfolders(folder)
    return folders if any(label_of_folder(path) is not None for path in folders) else []


def _subfolders(folder: Path) -> list[Path]:
    return [path for path in list_entries(folder)[0] if path.name not in GENERATED_FOLDERS and not parse_split(path.name)]


def _is_labelled(folder: Path) -> bool:
    return bool(_labelled_paths(folder))


def _labelled_paths(folder: Path) -> list[Path]:
    """Return the files and folders with a label in the metadata.json of a folder."""
    if not (folder / METADATA).is_file():
        return []
    labelled = (folder / _as_path(name) for name, entry in _read_json(folder / METADATA).items() if "label" in entry)
    return [path for path in labelled if path.is_dir() or is_media(path, MEDIA)]


def read(root: Path, data_path: Path, options: TreeOptions) -> Tree:
    tree = Tree("FOLDER", root)
    bases = _find_bases(root)
    scopes = [*bases, *(folder for folders in bases.values() for folder in folders)]
    labels = {path: metadata.label for path, metadata in _folder_metadata(scopes).items() if metadata.label is not None}
    files = [
        file
        for base in bases
        for file in _base_files(base, base if base != root else None, bases[base], labels, tree, options.pictures)
    ]
    if options.pictures == AUTO and (folders := sum(file.kind == FRAMES for file in files)):
        tree.notes.append(_frames_note(folders))
    with_files = {file.class_folder.name for file in files if file.class_folder}
    known = {*with_files, *(base.name for base in bases), *(file.path.name for file in files if file.path.parent == root)}
    report_unexpected(root, {*known, *GENERATED_FOLDERS}, tree.problems)
    tree.items = list(_make_items(files, _file_metadata(scopes, files, tree), tree))
    if not tree.items:
        raise UserError(f"no videos or pictures with a label below {root}; it contains: {_format_entries(root)}")
    return tree


def _frames_note(folders: int) -> str:
    return (
        f"{folders} folders of numbered pictures are indexed as the frames of one video each; set index_videos.pictures to "
        f"{SINGLE} if they are separate pictures, or to {CROPS} if they are already cut out faces"
    )


def _find_bases(root: Path) -> dict[Path, list[Path]]:
    """Return the root and the split folders in it, each with its class folders."""
    ancestors = {parent for path in _labelled_paths(root) for parent in path.parents}
    splits = (path for path in _split_folders(root) if _class_folders(path) or _is_labelled(path) or path in ancestors)
    bases = {root: _subfolders(root) if _class_folders(root) or _is_labelled(root) else []}
    return {**bases, **{path: _subfolders(path) for path in splits}}


def _format_entries(folder: Path) -> str:
    return format_names([path.name for entries in list_entries(folder) for path in entries]) or "nothing"


def _base_files(
    base: Path,
    split_folder: Path | None,
    class_folders: Sequence[Path],
    labels: Mapping[Path, int],
    tree: Tree,
    pictures: str,
) -> Iterator[MediaFile]:
    split = parse_split(split_folder.name) if split_folder else ""
    split_prefix = (split_folder.name,) if split_folder else ()
    classes = {folder: label_of_folder(folder) for folder in class_folders}
    classes = {folder: labels.get(folder) if label is None else label for folder, label in classes.items()}
    several_real = list(classes.values()).count(REAL) > 1
    for folder, label in classes.items():
        prefix = (*split_prefix, folder.name) if label == REAL and several_real else split_prefix
        yield from _class_files(folder, label, split, prefix, tree, pictures)
    for path in list_entries(base)[1]:
        if is_media(path, MEDIA):
            yield MediaFile(path, "_".join((*split_prefix, path.stem)), split=split)


def _class_files(
    folder: Path, label: int | None, split: str, prefix: tuple[str, ...], tree: Tree, pictures: str
) -> Iterator[MediaFile]:
    paths = []
    for path in walk_files(folder):
        if is_media(path, MEDIA):
            paths.append(path)
        elif path.name != METADATA and label is not None:
            tree.problems.append(non_video_problem(path))
    paths = _group_frames(paths, folder, pictures)
    # A subfolder that holds all of them, such as `videos`, does not identify a person.
    shared = len(os.path.commonprefix([path.parent.relative_to(folder).parts for path in paths])) if paths else 0
    for path in paths:
        parts = path.parent.relative_to(folder).parts
        splits = [word for part in parts if (word := parse_split(part))]
        people = [part for part in parts[shared:] if not parse_split(part)]
        yield MediaFile(
            path,
            "_".join((*prefix, *parts[shared:], path.name if path.is_dir() else path.stem)),
            label,
            folder.name,
            splits[0] if splits else split,
            identity_from_name("-".join(people)),
            folder,
            (CROPS if pictures == CROPS else FRAMES) if path.is_dir() else FILE,
            opposed_by=_find_opposing_folder(folder, parts, label),
        )


def _group_frames(paths: Sequence[Path], class_folder: Path, pictures: str) -> list[Path]:
    """Replace the pictures of each folder that holds the frames of a video by the folder."""
    if pictures == SINGLE:
        return list(paths)
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        if path.parent != class_folder and path.suffix.lower() in IMAGE_SUFFIXES:
            by_folder[path.parent].append(path)
    is_video = {folder: pictures != AUTO or _are_numbered(inside) for folder, inside in by_folder.items()}
    frames = {path for folder, inside in by_folder.items() if is_video[folder] for path in inside}
    folders = [folder for folder in by_folder if is_video[folder]]
    return sorted([*(path for path in paths if path not in frames), *folders])


def _are_numbered(paths: Sequence[Path]) -> bool:
    """Whether the names differ by numbers only, such as frame_01 and frame_02."""
    patterns = {re.sub(r"\d+", "0", path.stem) for path in paths}
    return len(paths) > 1 and len(patterns) == 1 and "0" in patterns.pop()


def _find_opposing_folder(folder: Path, parts: tuple[str, ...], label: int | None) -> Path | None:
    opposed = (number for number, part in enumerate(parts, 1) if label is not None and label_by_words(part) == 1 - label)
    number = next(opposed, None)
    return folder.joinpath(*parts[:number]) if number else None


def _read_json(path: Path) -> dict[str, JsonEntry]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise UserError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        raise UserError(f'{path} does not have the form {{"a.mp4": {{"label": "fake"}}}}')
    return content


def _file_metadata(scopes: Iterable[Path], files: Sequence[MediaFile], tree: Tree) -> dict[Path, Metadata]:
    """Return the metadata of files by path. The entry of a file takes precedence over those of its folders."""
    of_folders, of_files = _folder_metadata(scopes), dict[Path, Metadata]()
    for json_path, entries in _read_entries(scopes):
        folder = json_path.parent
        by_name = _files_by_name(folder, files)
        for name, entry in entries.items():
            if folder / name in of_folders:
                continue
            metadata, file = _parse_entry(entry, by_name, json_path, name), _find_file(name, by_name, json_path)
            if file:
                of_files[file.path] = metadata
            else:
                _add_missing(folder / name, metadata, tree)
    for file in files if of_folders else ():
        for parent in (path for path in file.path.parents if path in of_folders):
            of_files[file.path] = _completed(of_files.get(file.path, NO_METADATA), of_folders[parent])
    return of_files


def _read_entries(scopes: Iterable[Path]) -> Iterator[tuple[Path, dict[str, JsonEntry]]]:
    for json_path in (scope / METADATA for scope in scopes):
        if json_path.is_file():
            yield json_path, {_as_path(name): entry for name, entry in _read_json(json_path).items()}


def _as_path(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).as_posix()


def _folder_metadata(scopes: Iterable[Path]) -> dict[Path, Metadata]:
    """Return the metadata of folders by path."""
    return {
        json_path.parent / name: _parse_entry(entry, {}, json_path, name)
        for json_path, entries in _read_entries(scopes)
        for name, entry in entries.items()
        if Path(name).suffix.lower() not in MEDIA and (json_path.parent / name).is_dir()
    }


def _completed(metadata: Metadata, of_folder: Metadata) -> Metadata:
    """Return the metadata of a file with missing fields taken from its folder."""
    return replace(
        metadata,
        label=of_folder.label if metadata.label is None else metadata.label,
        split=metadata.split or of_folder.split,
        identities=metadata.identities or of_folder.identities,
        method=metadata.method or of_folder.method,
    )


def _files_by_name(folder: Path, files: Sequence[MediaFile]) -> dict[str, list[MediaFile]]:
    """Return the files below a folder by relative path and by file name. Several files may have the same file name."""
    by_name: dict[str, list[MediaFile]] = defaultdict(list)
    for file in files:
        if folder in file.path.parents:
            for name in {file.path.relative_to(folder).as_posix(), file.path.name}:
                by_name[name].append(file)
    return by_name


def _find_file(name: str, by_name: Mapping[str, list[MediaFile]], json_path: Path) -> MediaFile | None:
    files = by_name.get(_as_path(name), [])
    if len(files) > 1:
        candidates = format_names([file.path.relative_to(json_path.parent).as_posix() for file in files])
        raise UserError(f"{json_path}: '{name}' is ambiguous: {candidates}; write it with its folder")
    return files[0] if files else None


def _parse_entry(entry: JsonEntry, by_name: Mapping[str, list[MediaFile]], json_path: Path, name: str) -> Metadata:
    label, split, identity = entry.get("label"), entry.get("split"), entry.get("identity")
    if label is not None and parse_label(label) is None:
        raise UserError(f"{json_path}: the label of '{name}' is '{label}'; it must be 0, 1, real or fake")
    if split is not None and not parse_split(str(split)):
        raise UserError(f"{json_path}: the split of '{name}' is '{split}'; it must be train, val or test")
    original, method = str(entry.get("original") or ""), str(entry.get("method") or "")
    identities = identity if isinstance(identity, list) else [] if identity is None else [identity]
    if method in (ORIGINAL, ".", "..") or "/" in method or "\\" in method:
        raise UserError(f"{json_path}: the method of '{name}' is '{method}', which cannot be the name of a folder of fakes")
    return Metadata(
        parse_label(label),
        parse_split(str(split)),
        tuple(identity_from_name(str(identity)) for identity in identities),
        method,
        original,
        _find_file(original, by_name, json_path) if original else None,
    )


def _add_missing(path: Path, metadata: Metadata, tree: Tree) -> None:
    label = metadata.label
    if label is None and path.parent.is_dir():
        label = label_of_folder(path.parent)
    identities = metadata.identities or (identity_from_name(path.stem),)
    if label is None:
        reason = f"{METADATA} names it, but it does not exist"
        tree.problems.append(TreeProblem(path, reason, "restore it, or remove its entry"))
    elif label == REAL:
        tree.missing.append(Item(path, ORIGINAL, REAL, identities, path.stem, split=metadata.split))
    else:
        tree.missing.append(Item(path, metadata.method or PLAIN_FAKE, FAKE, identities, path.stem, split=metadata.split))


def _make_items(files: Sequence[MediaFile], of_files: Mapping[Path, Metadata], tree: Tree) -> Iterator[Item]:
    _check_agreement(files, of_files, tree.root)
    labels = {file.path: label for file in files if (label := _label_of(file, of_files)) is not None}
    _report_unlabelled([file for file in files if file.path not in labels], tree)
    labelled = [file for file in files if file.path in labels]
    without_identity, without_original = 0, 0
    for file in labelled:
        label, metadata = labels[file.path], of_files.get(file.path, NO_METADATA)
        identities = _explicit_identities(file, metadata)
        made_from: tuple[str, ...] = ()
        if metadata.original_file:
            original = metadata.original_file
            of_original = of_files.get(original.path, NO_METADATA)
            identities += _identities_of(original, of_original)
            if original.path in labels:
                method = _method_of(original, labels[original.path], of_original)
                made_from = (video_name(method, original.stem),)
        elif metadata.original:
            identities += (identity_from_name(Path(metadata.original).stem),)
        without_identity += not identities
        without_original += label == FAKE and not metadata.original
        identities = tuple(dict.fromkeys(identities)) or _identities_of(file, metadata)
        method = _method_of(file, label, metadata)
        yield Item(file.path, method, label, identities, file.stem, made_from, file.split or metadata.split, kind=file.kind)
    if without_identity:
        tree.notes.append(
            f"the person in {without_identity} of the {len(labelled)} files is unknown: each file counts as a separate person, "
            f"so the same person may be in two splits; add `identity` to {tree.root / METADATA}"
        )
    if without_original:
        tree.notes.append(
            f"the originals of {without_original} fakes are unknown, so the fakes are not compared with them; "
            f"add `original` to {tree.root / METADATA} if the originals are in the corpus"
        )


def _label_of(file: MediaFile, of_files: Mapping[Path, Metadata]) -> int | None:
    return of_files.get(file.path, NO_METADATA).label if file.label is None else file.label


def _method_of(file: MediaFile, label: int, metadata: Metadata) -> str:
    return ORIGINAL if label == REAL else metadata.method or file.method or PLAIN_FAKE


def _report_unlabelled(files: Sequence[MediaFile], tree: Tree) -> None:
    json_path, by_folder = tree.root / METADATA, defaultdict[Path, int](int)
    for file in files:
        if file.class_folder:
            by_folder[file.class_folder] += 1
        else:
            reason = f"it is in no class folder and has no label in a {METADATA}"
            tree.problems.append(TreeProblem(file.path, reason, "move it into real/ or fake/, or add a label"))
    for folder, count in by_folder.items():
        name = json.dumps(folder.relative_to(tree.root).as_posix(), ensure_ascii=False)
        remedy = f'write {{{name}: {{"label": "real"}}}} into {json_path}, or "fake" if they are'
        tree.problems.append(TreeProblem(folder, "its name implies neither real nor fake", remedy, skipped=count))


def _explicit_identities(file: MediaFile, metadata: Metadata) -> tuple[str, ...]:
    return metadata.identities or ((file.person,) if file.person else ())


def _identities_of(file: MediaFile, metadata: Metadata) -> tuple[str, ...]:
    """Return explicit identities, else one made of split and file name: a fake and its original often have the same name."""
    split = file.split or metadata.split
    return _explicit_identities(file, metadata) or (identity_from_name(f"{split}-{file.stem}" if split else file.stem),)


def _check_agreement(files: Sequence[MediaFile], of_files: Mapping[Path, Metadata], root: Path) -> None:
    contradicting = []
    for file in files:
        metadata = of_files.get(file.path, NO_METADATA)
        if {file.label, metadata.label} == {REAL, FAKE} or len({file.split, metadata.split} - {""}) > 1:
            contradicting.append(file.path.relative_to(root).as_posix())
        if file.opposed_by and metadata.label is None:
            inside, outside = (path.relative_to(root).as_posix() for path in (file.opposed_by, file.class_folder or root))
            label = "real" if file.label == REAL else "fake"
            raise UserError(
                f"{file.opposed_by} is in {outside}/, but its name implies the opposite; move it, or, if {label} is right, "
                f'write {{{json.dumps(inside, ensure_ascii=False)}: {{"label": "{label}"}}}} into {root / METADATA}'
            )
    if contradicting:
        raise contradiction_error(root / METADATA, contradicting, "correct the label or split there, or move them")


LAYOUT = Layout("real/ and fake/ or similar folder names, or a metadata.json with labels", is_root, read)
