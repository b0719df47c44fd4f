"""The index: one row a video. Everything downstream takes label, split and identities from it, never from a path."""

import csv
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pipeline.errors import UserError
from pipeline.outputs import write_csv

SPLITS = ("training_set", "validation_set", "test_set")
REAL, FAKE = 0, 1
# The ledgers that make_demo_videos and make_portrait_videos leave beside their videos.
DRAWN_BY_US, MADE_OF_PORTRAITS = "demo_videos.jsonl", "portrait_videos.jsonl"
ORIGINAL = "Original"  # the method of real videos, as the published folders name it


@dataclass(frozen=True, slots=True)
class Video:
    """A video and all that is known of it before it is opened."""

    video: str  # unique: Method/stem
    method: str
    label: int  # 0 real, 1 fake
    split: str
    identities: tuple[str, ...]  # who is in it: both people, for a fake
    path: str  # relative to the project where it lies inside
    mask: str  # video of the truth of the manipulated region, or empty
    content: str  # hash of the file's bytes
    dataset: str  # the corpus it is from; DEMO is drawn, and no network that saw only that has seen a face
    made_from: tuple[str, ...] = ()  # of a fake: the videos it was made of, first the one whose frames it shows

    @property
    def stem(self) -> str:
        return self.video.split("/", 1)[1]


COLUMNS = tuple(field.name for field in fields(Video))
BETWEEN_NAMES = " // "  # names of videos may hold spaces, commas or bars; none has two slashes in a row


def write_index(path: Path, videos: Iterable[Video]) -> None:
    write_csv(path, COLUMNS, map(_row, videos))


def _row(video: Video) -> dict[str, object]:
    return {**asdict(video), "identities": " ".join(video.identities), "made_from": BETWEEN_NAMES.join(video.made_from)}


@dataclass(frozen=True)
class Index:
    """The videos of an index on disk, read anew each time that one goes through them: a million take no memory."""

    path: Path

    def __post_init__(self) -> None:
        if not self.path.is_file():
            raise UserError(f"{self.path} is not there; `dvc repro index_videos` or preprocessing/index_videos.py writes it")
        with self.path.open(newline="") as file:
            columns = tuple(csv.DictReader(file).fieldnames or ())
        if columns and columns == COLUMNS[: len(columns)] and columns != COLUMNS:  # later versions append columns
            lacking = ", ".join(COLUMNS[len(columns) :])
            raise UserError(f"{self.path} is of an older version and lacks {lacking}; run preprocessing/index_videos.py again")
        if columns != COLUMNS:
            raise UserError(f"{self.path} is not an index of videos: its columns should be {','.join(COLUMNS)}")

    def __iter__(self) -> Iterator[Video]:
        with self.path.open(newline="") as file:
            yield from map(_video, csv.DictReader(file))


def read_index(path: Path) -> list[Video]:
    return list(Index(path))


def _video(row: dict[str, str]) -> Video:
    made_from = tuple(map(sys.intern, row["made_from"].split(BETWEEN_NAMES))) if row["made_from"] else ()
    typed = {"label": int(row["label"]), "identities": tuple(row["identities"].split()), "made_from": made_from}
    shared = {name: sys.intern(row[name]) for name in ("method", "split", "mask", "dataset")}  # of a million rows, a few words
    return Video(**{**row, **typed, **shared})  # type: ignore[arg-type]


def original_of(fake: Video, videos: Mapping[str, Video]) -> Video | None:
    """The real video, among these by name, whose frames the fake shows; None where it is unknown or not among them."""
    original = videos.get(fake.made_from[0]) if fake.label == FAKE and fake.made_from else None
    return original if original and original.label == REAL else None


def of_dataset(videos: Iterable[Video], dataset: str) -> list[Video]:
    """The videos of one manipulation and the real ones it is told from; `All` means every method."""
    videos = list(videos)
    methods = sorted({video.method for video in videos})
    if dataset != "All" and dataset not in methods:
        raise UserError(f"dataset '{dataset}' is not in the index; there are: All, {', '.join(methods)}")
    return [video for video in videos if dataset == "All" or video.method in (dataset, ORIGINAL)]
