"""What a layout reads from a folder: its videos, missing videos, and files that do not fit; and helpers for all layouts."""

import os
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from explain_deepfakes.pipeline.buckets import is_in_bucket
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import FAKE, FILE, REAL, SPLITS, Segment
from explain_deepfakes.pipeline.outputs import shorten_name
from explain_deepfakes.preprocessing.video.frame_folders import FRAME_SUFFIXES

VIDEO_SUFFIXES = frozenset((".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".gif"))
IMAGE_SUFFIXES = FRAME_SUFFIXES
ARCHIVE_SUFFIXES = frozenset((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"))
UNFINISHED_SUFFIXES = frozenset((".part", ".partial", ".crdownload", ".download", ".tmp", ".aria2", ".filepart"))
UNEXPECTED_SUFFIXES = VIDEO_SUFFIXES | ARCHIVE_SUFFIXES | UNFINISHED_SUFFIXES  # reported outside the folders of a layout
SYSTEM_FILES = frozenset(("__macosx", "thumbs.db", "desktop.ini", "@eadir"))  # created by operating systems
GENERATED_FOLDERS = frozenset(("boxes", "crops", "index", "masks", *SPLITS))  # written by the commands below --data_path
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", SPLITS[0]), SPLITS[0]),
    **dict.fromkeys(("val", "valid", "validation", "dev", SPLITS[1]), SPLITS[1]),
    **dict.fromkeys(("test", "testing", SPLITS[2]), SPLITS[2]),
}
LABEL_WORDS = {"0": REAL, "0.0": REAL, "real": REAL, "false": REAL, "1": FAKE, "1.0": FAKE, "fake": FAKE, "true": FAKE}
ALL_DOMAINS = "all"
MAX_NAMES = 8  # names that are listed in one line of text
MAX_STEM_BYTES = 200  # a file name can have 255 bytes


def video_name(method: str, stem: str) -> str:
    """Return the name of a video in the index. It is short enough to name output files after it, with suffixes added.

    Interned: the same name is in several mappings, and in `made_from` of other videos.
    """
    return sys.intern(f"{method}/{shorten_name(stem, MAX_STEM_BYTES)}")


@dataclass(frozen=True, slots=True)
class Item:
    """A video or picture that is in the tree, or that is missing although a list of the corpus names it."""

    path: Path
    method: str
    label: int
    identities: tuple[str, ...]
    stem: str
    made_from: tuple[str, ...] = ()  # source videos of a fake, by their names in the index
    split: str = ""  # official split of this video; empty if the corpus does not assign one
    mask: Path | None = None
    kind: str = FILE
    segments: tuple[Segment, ...] = ()

    @property
    def video(self) -> str:
        return video_name(self.method, self.stem)


@dataclass(frozen=True)
class TreeProblem:
    """A file or folder that does not fit the layout, the reason, and how to fix it."""

    path: Path
    reason: str
    remedy: str
    skipped: int = 0  # number of videos in a folder that is left out because their labels are unknown
    note: bool = False  # for information only, nothing has to be fixed


@dataclass
class Tree:
    """The content of a corpus folder, as its layout reads it."""

    dataset: str
    root: Path
    items: list[Item] = field(default_factory=list)
    missing: list[Item] = field(default_factory=list)
    problems: list[TreeProblem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    official: dict[str, str] = field(default_factory=dict)  # official split of each identity
    open_splits: tuple[str, ...] = SPLITS  # splits for videos without an official one


@dataclass(frozen=True)
class TreeOptions:
    """Settings of the index that the readers of layouts use."""

    compression: str = "c23"
    pictures: str = "auto"
    domain: str = ALL_DOMAINS  # of DF40


@dataclass(frozen=True)
class Layout:
    expected: str  # files and folders that identify the layout, for messages
    is_root: Callable[[Path], bool]
    read: Callable[[Path, Path, TreeOptions], Tree]  # arguments: root, data_path (the root or a folder above it), options


def list_entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders and the other entries of a folder, sorted, without hidden and system files."""
    if is_in_bucket(folder):
        entries = sorted((path.name, path.is_dir()) for path in folder.iterdir() if not _is_ignored(path.name))
    else:
        with os.scandir(folder) as scanned:
            # Not `entry.is_dir`, which raises on a link to itself.
            entries = sorted((entry.name, os.path.isdir(entry.path)) for entry in scanned if not _is_ignored(entry.name))
    return [folder / name for name, is_dir in entries if is_dir], [folder / name for name, is_dir in entries if not is_dir]


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_FILES


def is_media(path: Path, suffixes: Collection[str] = VIDEO_SUFFIXES) -> bool:
    return path.suffix.lower() in suffixes and _is_text(path.name) and path.is_file()


def _is_text(name: str) -> bool:
    """Whether a file name can be written to the index, which is a text file. On some systems, names can be any bytes."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def collect_media(folder: Path, problems: list[TreeProblem], known: Collection[str] = ()) -> list[Path]:
    """Return the videos of a folder that should hold nothing else; report other entries, except those with known names."""
    if not folder.is_dir():
        return []
    media: list[Path] = []
    folders, files = list_entries(folder)
    for path in folders:
        if path.name not in known:
            reason = "a folder among the videos, which was not read"
            problems.append(unknown_folder_problem(path, reason, "move its videos up, or remove it"))
    for path in files:
        if is_media(path):
            media.append(path)
        elif path.name not in known:
            problems.append(non_video_problem(path))
    return media


def list_frame_folders(folder: Path) -> list[Path]:
    """Return the folders below this one that contain pictures."""
    return sorted({path.parent for path in walk_files(folder) if is_media(path, IMAGE_SUFFIXES) and path.parent != folder})


def report_unexpected(folder: Path, known: Collection[str], problems: list[TreeProblem]) -> None:
    """Report entries that the layout does not expect in this folder, except documents such as lists, scripts and licences."""
    folders, files = list_entries(folder)
    for path in folders:
        if path.name not in known:
            reason = "a folder that is not part of the layout and was not read"
            problems.append(unknown_folder_problem(path, reason, "remove it, or name it as in docs/layouts.md"))
    for path in files:
        if path.name in known or path.suffix.lower() not in UNEXPECTED_SUFFIXES:
            continue
        if is_media(path):
            problems.append(
                TreeProblem(path, "a video in an unexpected folder", "move it to a folder listed in docs/layouts.md")
            )
        else:
            problems.append(non_video_problem(path))


def unknown_folder_problem(path: Path, reason: str, remedy: str) -> TreeProblem:
    return TreeProblem(path, reason, remedy, skipped=sum(map(is_media, walk_files(path))))


def non_video_problem(path: Path) -> TreeProblem:
    suffix = path.suffix.lower()
    if not _is_text(path.name):
        return TreeProblem(path, "its name contains bytes that are not valid text", "rename it")
    if not path.exists():
        return TreeProblem(path, "a link to a file that does not exist", "restore the file, or delete the link")
    if not path.is_file():
        return TreeProblem(path, "a pipe, socket or device instead of a file", "remove it")
    if suffix in ARCHIVE_SUFFIXES:
        return TreeProblem(path, "an archive", "unpack it if its videos are not here yet, then delete it")
    if suffix in UNFINISHED_SUFFIXES:
        return TreeProblem(path, "an unfinished download", "download it again")
    if suffix in IMAGE_SUFFIXES:
        return TreeProblem(path, "a picture where the layout has videos", "remove it; only dataset FOLDER reads pictures")
    return TreeProblem(path, f"'{path.suffix}' is not a suffix of videos", "correct it if the file is a video, else remove it")


def identity_from_name(name: str) -> str:
    return "-".join(name.split())  # the index separates identities by spaces


def unknown_person_note(path: Path, rule: str) -> TreeProblem:
    reason = f"the name does not identify the person, as {rule} would; it counts as a separate person"
    return TreeProblem(path, reason, "rename it if the person is also in other videos", note=True)


def parse_split(word: str) -> str:
    """Return the split that a word such as train, val or test means; empty if it means none."""
    return SPLIT_WORDS.get(word.strip().lower(), "")


def parse_label(word: object) -> int | None:
    """Return 0 for a word that means real, 1 for one that means fake, else None."""
    return LABEL_WORDS.get(str(word).strip().lower())


def format_names(names: Collection[str]) -> str:
    """Return the first names, sorted, and the number of further ones."""
    shown = sorted(names)
    more = f", and {len(shown) - MAX_NAMES} more" if len(shown) > MAX_NAMES else ""
    return ", ".join(shown[:MAX_NAMES]) + more


def contradiction_error(path: Path, names: Collection[str], hint: str) -> UserError:
    return UserError(f"{path} contradicts the folders of its videos: {format_names(names)}; {hint}")


def walk_files(folder: Path, ancestors: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield all files below a folder. Links to folders are followed, except those that form a cycle."""
    resolved = folder.resolve()
    if resolved in ancestors:
        return
    folders, files = list_entries(folder)
    yield from files
    for path in folders:
        yield from walk_files(path, (*ancestors, resolved))
