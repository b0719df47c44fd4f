"""What a layout finds in a folder: the videos as their places describe them, what is missing, and what does not fit."""

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.buckets import is_in_bucket
from pipeline.errors import UserError
from pipeline.index import FAKE, REAL, SPLITS
from pipeline.outputs import shortened

VIDEO_SUFFIXES = frozenset((".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".gif"))
IMAGE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp"))
ARCHIVE_SUFFIXES = frozenset((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"))
UNFINISHED_SUFFIXES = frozenset((".part", ".partial", ".crdownload", ".download", ".tmp", ".aria2", ".filepart"))
NO_PAPER = VIDEO_SUFFIXES | ARCHIVE_SUFFIXES | UNFINISHED_SUFFIXES
NOT_OF_THE_CORPUS = frozenset(("__macosx", "thumbs.db", "desktop.ini", "@eadir"))  # what systems leave behind
OURS = frozenset(("boxes", "crops", "index", "masks", *SPLITS))  # what the commands write below a --data_path
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", SPLITS[0]), SPLITS[0]),
    **dict.fromkeys(("val", "valid", "validation", "dev", SPLITS[1]), SPLITS[1]),
    **dict.fromkeys(("test", "testing", SPLITS[2]), SPLITS[2]),
}
LABEL_WORDS = {"0": REAL, "0.0": REAL, "real": REAL, "false": REAL, "1": FAKE, "1.0": FAKE, "fake": FAKE, "true": FAKE}
SHOWN = 8  # of a list in one line of text
LONGEST_STEM = 200  # bytes; a file's name has 255 at most


def video_name(method: str, stem: str) -> str:
    """Its name in the index. Files are named after it, so there must be room for what is added to it."""
    return f"{method}/{shortened(stem, LONGEST_STEM)}"


@dataclass(frozen=True)
class Item:
    """A video (or picture) that is in the tree, or that the corpus's own lists say should be."""

    path: Path
    method: str
    label: int
    identities: tuple[str, ...]
    stem: str
    made_from: tuple[str, ...] = ()  # the videos that a fake was made of, by their names in the index
    split: str = ""  # that the corpus gives this very video
    mask: Path | None = None

    @property
    def video(self) -> str:
        return video_name(self.method, self.stem)


@dataclass(frozen=True)
class Unfit:
    """What does not fit the layout, why, and how to mend it."""

    path: Path
    reason: str
    remedy: str
    skipped: int = 0  # videos in it, where it is a folder that is left out because nothing says what it holds
    note: bool = False  # nothing that has to be mended


@dataclass
class Tree:
    dataset: str
    root: Path
    items: list[Item] = field(default_factory=list)
    missing: list[Item] = field(default_factory=list)
    unfit: list[Unfit] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    official: dict[str, str] = field(default_factory=dict)  # the split that the corpus gives a person
    open_splits: tuple[str, ...] = SPLITS  # where videos may go that the corpus gives no split


@dataclass(frozen=True)
class Layout:
    looked_for: str  # in words
    is_root: Callable[[Path], bool]
    read: Callable[[Path, Path, str], Tree]  # the root, the folder it was found in or below, and the wanted compression


def entries_of(folder: Path) -> tuple[list[Path], list[Path]]:
    """The folders in it and the other entries, sorted; hidden ones, and what systems leave behind, are passed over."""
    if is_in_bucket(folder):
        entries = sorted((path.name, path.is_dir()) for path in folder.iterdir() if _is_of_the_corpus(path.name))
    else:
        with os.scandir(folder) as found:
            # A link to itself is nothing; `entry.is_dir` would end on it.
            entries = sorted((entry.name, os.path.isdir(entry.path)) for entry in found if _is_of_the_corpus(entry.name))
    return [folder / name for name, is_dir in entries if is_dir], [folder / name for name, is_dir in entries if not is_dir]


def _is_of_the_corpus(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in NOT_OF_THE_CORPUS


def is_media(path: Path, suffixes: Collection[str] = VIDEO_SUFFIXES) -> bool:
    return path.suffix.lower() in suffixes and _is_text(path.name) and path.is_file()


def _is_text(name: str) -> bool:
    """Names may be any bytes on some systems; the index is a text."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def media_in(folder: Path, unfit: list[Unfit], known: Collection[str] = ()) -> list[Path]:
    """The videos in a folder that should hold nothing else; what else it holds, but for the names known, does not fit."""
    if not folder.is_dir():
        return []
    media: list[Path] = []
    folders, files = entries_of(folder)
    for path in folders:
        if path.name not in known:
            unfit.append(
                unknown_folder(path, "a folder among the videos, not looked into", "move its videos up, or take it out")
            )
    for path in files:
        if is_media(path):
            media.append(path)
        elif path.name not in known:
            unfit.append(not_a_video(path))
    return media


def report_strays(folder: Path, known: Collection[str], unfit: list[Unfit]) -> None:
    """What lies where the layout has no place for it. Papers (lists, scripts, licences) may lie anywhere."""
    folders, files = entries_of(folder)
    for path in folders:
        if path.name not in known:
            reason = "a folder that the layout does not know, not looked into"
            unfit.append(unknown_folder(path, reason, "take it out, or name it as in docs/layouts.md"))
    for path in files:
        if path.name in known or path.suffix.lower() not in NO_PAPER:
            continue
        if is_media(path):
            unfit.append(Unfit(path, "a video in no known place", "move it to where docs/layouts.md has its like"))
        else:
            unfit.append(not_a_video(path))


def unknown_folder(path: Path, reason: str, remedy: str) -> Unfit:
    return Unfit(path, reason, remedy, skipped=sum(map(is_media, files_below(path))))


def not_a_video(path: Path) -> Unfit:
    suffix = path.suffix.lower()
    if not _is_text(path.name):
        return Unfit(path, "its name holds bytes that are no text", "rename it")
    if not path.exists():
        return Unfit(path, "a link to a file that is not there", "put the file back, or delete the link")
    if not path.is_file():
        return Unfit(path, "no file but a pipe, a socket or a device", "take it out")
    if suffix in ARCHIVE_SUFFIXES:
        return Unfit(path, "an archive", "unpack it if its videos are not here yet, then delete it")
    if suffix in UNFINISHED_SUFFIXES:
        return Unfit(path, "a download that was not finished", "fetch it again")
    if suffix in IMAGE_SUFFIXES:
        return Unfit(path, "a picture where the layout has videos", "take it out; dataset FOLDER takes pictures")
    return Unfit(path, f"its suffix '{path.suffix}' is no video's", "give it its right suffix if it is one, else take it out")


def identity_of(name: str) -> str:
    return "-".join(name.split())  # the index parts identities by spaces


def own_person(path: Path, rule: str) -> Unfit:
    reason = f"the name does not say who is in it, as {rule} does; it counts as a person of its own"
    return Unfit(path, reason, "rename it if somebody of other videos is in it", note=True)


def split_of_word(word: str) -> str:
    """The split that train, val, test and the like mean; empty if it is none."""
    return SPLIT_WORDS.get(word.strip().lower(), "")


def label_of_word(word: object) -> int | None:
    """0 for what says real, 1 for what says fake, else None."""
    return LABEL_WORDS.get(str(word).strip().lower())


def listed(names: Collection[str]) -> str:
    """The first of them, as one line of text."""
    shown = sorted(names)
    more = f", and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return ", ".join(shown[:SHOWN]) + more


def contradictions(path: Path, names: Collection[str], hint: str) -> UserError:
    return UserError(f"{path} contradicts the folders that its videos lie in: {listed(names)}; {hint}")


def files_below(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """All files below it. Linked folders are followed, but not round in circles."""
    here = folder.resolve()
    if here in above:
        return
    folders, files = entries_of(folder)
    yield from files
    for path in folders:
        yield from files_below(path, (*above, here))
