"""Folder layouts of the corpora that people have: a tree of videos -> the index of them.

A layout is a function from the tree's folder and the wanted compression to what it found; `LAYOUTS` names them.
FACEFORENSICS is the tree of FaceForensics++, and of the demo corpus:

    original_sequences/youtube/<compression>/videos/<id>.mp4                        real
    manipulated_sequences/<Method>/<compression>/videos/<target>_<source>.mp4       fake: both people are in it
    manipulated_sequences/<Method>/masks/videos/<target>_<source>.mp4               where it was changed, if known
    splits/{train,val,test}.json                                                    pairs of ids; also in dataset/splits

"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UserError
from pipeline.index import FAKE, ORIGINAL, REAL, Video
from pipeline.ledger import content_hash
from pipeline.project import relative
from preprocessing.splits import assign_splits, check_leaks, read_official_splits

VIDEO_EXTENSIONS = (".mp4", ".avi", ".mov", ".mkv", ".webm")
ORIGINALS, MANIPULATED = "original_sequences", "manipulated_sequences"
TARGET_AND_SOURCE = re.compile(r"([^_]+)_([^_]+)")
DRAWN_BY_US = "demo_videos.jsonl"  # the ledger that make_demo_videos leaves beside its videos
SHOWN = 8  # entries of a folder that is not recognised


@dataclass(frozen=True)
class Found:
    """A video as its place in the tree describes it."""

    path: Path
    method: str
    label: int
    identities: tuple[str, ...]
    mask: Path | None

    @property
    def video(self) -> str:
        return f"{self.method}/{self.path.stem}"


@dataclass(frozen=True)
class Tree:
    found: list[Found]
    official_splits: dict[str, str]
    dataset: str


def index_of(data_path: Path, dataset: str, compression: str) -> list[Video]:
    """The videos below the folder, sorted; no person and no file is in two splits."""
    layout = LAYOUTS.get(dataset.upper())
    if layout is None:
        raise UserError(f"dataset '{dataset}' is not a layout that is known; there are: {', '.join(LAYOUTS)}")
    if not data_path.is_dir():
        raise UserError(f"data_path {data_path} is not a folder")
    tree = layout(data_path, compression)
    _check_unique(tree.found)
    splits = assign_splits({found.video: found.identities for found in tree.found}, tree.official_splits)
    videos = [_indexed(found, splits[found.video], tree.dataset) for found in sorted(tree.found, key=lambda found: found.video)]
    check_leaks(videos)
    return videos


def _check_unique(tree: Iterable[Found]) -> None:
    paths: dict[str, Path] = {}
    for found in tree:
        other = paths.setdefault(found.video, found.path)
        if other != found.path:
            raise UserError(f"{other} and {found.path} are both {found.video}; rename one")


def _indexed(found: Found, split: str, dataset: str) -> Video:
    return Video(
        video=found.video,
        method=found.method,
        label=found.label,
        split=split,
        identities=found.identities,
        path=relative(found.path),
        mask=relative(found.mask) if found.mask else "",
        content=content_hash(found.path),
        dataset=dataset,
    )


def read_faceforensics(data_path: Path, compression: str) -> Tree:
    root = _faceforensics_root(data_path)
    found = [*_originals(root, compression), *_fakes(root, compression)]
    if not found:
        others = sorted({path.parent.name for path in root.glob("*_sequences/*/*/videos")} - {"masks"})
        raise UserError(
            f"no videos of compression '{compression}' below {root}; there are: {', '.join(others) or 'none at all'}"
        )
    # The demo corpus is told by what it says of itself, not by the name it is read under: nobody may take it for faces.
    dataset = "DEMO" if (root / DRAWN_BY_US).is_file() else "FACEFORENSICS"
    return Tree(found, _official_splits(data_path, root), dataset)


def _faceforensics_root(data_path: Path) -> Path:
    """The folder itself or one below it, as the official download leaves it."""
    for folder in (data_path, *sorted(path for path in data_path.iterdir() if path.is_dir())):
        if (folder / ORIGINALS).is_dir() or (folder / MANIPULATED).is_dir():
            return folder
    there = sorted(path.name for path in data_path.iterdir())
    shown = ", ".join(there[:SHOWN]) + (", ..." if len(there) > SHOWN else "")
    raise UserError(
        f"{data_path} is not laid out as FACEFORENSICS: looked for {ORIGINALS}/ and {MANIPULATED}/ in it and one "
        f"folder deeper; there is: {shown or 'nothing'}"
    )


def _originals(root: Path, compression: str) -> Iterator[Found]:
    for path in _videos_in(root / ORIGINALS / "youtube" / compression / "videos"):
        yield Found(path, ORIGINAL, REAL, (_identity(path.stem),), None)


def _fakes(root: Path, compression: str) -> Iterator[Found]:
    for method in sorted(path for path in root.glob(f"{MANIPULATED}/*") if path.is_dir()):
        for path in _videos_in(method / compression / "videos"):
            mask = method / "masks" / "videos" / path.name
            yield Found(path, method.name, FAKE, _people_of_fake(path.stem), mask if mask.is_file() else None)


def _people_of_fake(stem: str) -> tuple[str, ...]:
    both = TARGET_AND_SOURCE.fullmatch(stem)
    return tuple(map(_identity, both.groups())) if both else (_identity(stem),)


def _identity(name: str) -> str:
    return "-".join(name.split())  # the index parts identities by spaces


def _videos_in(folder: Path) -> list[Path]:
    paths = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in paths if path.suffix.lower() in VIDEO_EXTENSIONS and not path.name.startswith("."))


def _official_splits(*folders: Path) -> dict[str, str]:
    for folder in folders:
        for place in (folder / "splits", folder / "dataset" / "splits"):
            if splits := read_official_splits(place):
                return splits
    return {}


LAYOUTS: dict[str, Callable[[Path, str], Tree]] = {
    "FACEFORENSICS": read_faceforensics,
    "FACEFORENSIC": read_faceforensics,  # as the published extraction command spells it
    "DEMO": read_faceforensics,
}
