"""Videos as lists describe them: a record for each video -> the items of a tree."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from explain_deepfakes.pipeline.buckets import is_in_bucket
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import FAKE, FILE, FRAMES, ORIGINAL, Segment
from explain_deepfakes.preprocessing.corpus.layouts.tree import (
    GENERATED_FOLDERS,
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    Item,
    Tree,
    format_names,
    identity_from_name,
    list_entries,
    video_name,
)
from explain_deepfakes.preprocessing.video.frame_folders import is_frame

MEDIA = VIDEO_SUFFIXES | IMAGE_SUFFIXES
PLAIN_FAKE = "fake"  # method of a fake of which the list says no more


@dataclass(frozen=True)
class Record:
    """What a list says about a video."""

    video: str  # path or name of the file, or of the folder of frames
    label: int
    split: str = ""
    identities: tuple[str, ...] = ()
    method: str = ""
    originals: tuple[str, ...] = ()  # as `video` of their records, or their names
    segments: tuple[Segment, ...] = ()
    mask: str = ""


class MediaFinder:
    """Finds the files and folders of frames that a list names: by path below a root, else by name, with or without suffix."""

    def __init__(self, roots: Iterable[Path]) -> None:
        self.roots = list(dict.fromkeys(roots))
        self.by_name: dict[str, list[Path]] | None = None

    def find(self, name: str) -> Path | None:
        relative_path = to_posix(name)
        for root in self.roots:
            if is_video(root / relative_path):
                return root / relative_path
        if self.by_name is None:
            self.by_name = self._list_names()
        paths = self.by_name.get(relative_path.name) or self.by_name.get(relative_path.stem, [])
        if len(paths) > 1:
            matching = [path for path in paths if path.as_posix().endswith(f"/{relative_path}")]
            if len(matching) != 1:
                candidates = format_names([str(path) for path in paths])
                raise UserError(f"'{name}' is ambiguous: {candidates}; the list must name it with its folder")
            return matching[0]
        return paths[0] if paths else None

    def note_unlisted(self, tree: Tree) -> None:
        """Add a note to the tree if there are videos that none of its items is. Buckets are not searched, as that is slow."""
        if is_in_bucket(tree.root):
            return
        if self.by_name is None:
            self.by_name = self._list_names()
        listed = {item.path for item in tree.items}
        unlisted = {str(path) for paths in self.by_name.values() for path in paths if path not in listed}
        if unlisted:
            tree.notes.append(f"{len(unlisted)} videos are left out, as no list has a label for them: {format_names(unlisted)}")

    def _list_names(self) -> dict[str, list[Path]]:
        """Return all videos by file name and by stem; of folders of frames, by the name of the folder."""
        names: dict[str, list[Path]] = defaultdict(list)
        for root in self.roots:
            for folder, folders, files in os.walk(root, followlinks=True):
                if Path(folder) == root:
                    folders[:] = [name for name in folders if name not in GENERATED_FOLDERS]
                folders.sort()
                paths = [Path(folder, name) for name in sorted(files) if Path(name).suffix.lower() in VIDEO_SUFFIXES]
                if not paths and any(is_frame(Path(folder, name)) for name in files[:1]):
                    paths = [Path(folder)]
                for path in paths:
                    for name in {path.name, path.stem}:
                        if path not in names[name]:
                            names[name].append(path)
        return names


def to_posix(name: str) -> PurePosixPath:
    """A path in a list, which may have been written on Windows or be absolute on another machine."""
    return PurePosixPath(name.strip().replace("\\", "/").lstrip("/"))


def is_video(path: Path) -> bool:
    """Whether it is a file of a video or picture, or a folder of frames."""
    if path.is_dir():
        return any(map(is_frame, list_entries(path)[1]))
    return path.suffix.lower() in MEDIA and path.is_file()


def add_records(tree: Tree, records: Sequence[Record], finder: MediaFinder, kind: str = FRAMES) -> None:
    """Add the items of the records to the tree. Videos that do not exist count as missing. `kind` is that of folders."""
    _check_repeated(tree, records)
    stems = _unique_stems(records)
    by_name = {name: record for record in records for name in {record.video, to_posix(record.video).stem} if not record.label}
    for record in records:
        originals = tuple(
            video_name(ORIGINAL, stems[by_name[name].video]) if name in by_name else video_name(ORIGINAL, to_posix(name).stem)
            for name in record.originals
        )
        path = finder.find(record.video)
        item = Item(
            path or tree.root / to_posix(record.video),
            (record.method or PLAIN_FAKE) if record.label == FAKE else ORIGINAL,
            record.label,
            record.identities or (identity_from_name(stems[record.video]),),
            stems[record.video],
            originals if record.label == FAKE else (),
            record.split,
            finder.find(record.mask) if record.mask else None,
            kind if path and path.is_dir() else FILE,
            record.segments if record.label == FAKE else (),
        )
        (tree.items if path else tree.missing).append(item)
    unknown = sum(not record.identities for record in records)
    if unknown:
        tree.notes.append(
            f"the person in {unknown} of the {len(records)} videos is unknown: each counts as a separate person, so the same "
            "person may be in two splits"
        )


def _check_repeated(tree: Tree, records: Sequence[Record]) -> None:
    counts = Counter(record.video for record in records)
    if repeated := [name for name, count in counts.items() if count > 1]:
        raise UserError(
            f"the list of {tree.root} names videos more than once: {format_names(repeated)}; remove all rows but one"
        )


def _unique_stems(records: Sequence[Record]) -> dict[str, str]:
    """Return the stem of each video: its file name, or its path with underscores if several files have that name."""
    counts = Counter(to_posix(record.video).stem for record in records)
    stems = {}
    for record in records:
        path = to_posix(record.video)
        stems[record.video] = path.stem if counts[path.stem] == 1 else "_".join(path.with_suffix("").parts)
    return stems
