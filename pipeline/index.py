"""The index of videos, one row per video. All stages take label, split and identities from it, never from a path."""

import csv
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.outputs import write_csv

SPLITS = ("training_set", "validation_set", "test_set")
REAL, FAKE = 0, 1
# Ledgers that make_demo_videos and make_portrait_videos write beside their videos.
DEMO_LEDGER, PORTRAIT_LEDGER = "demo_videos.jsonl", "portrait_videos.jsonl"
ORIGINAL = "Original"  # the method of real videos, as the published folders name it
# Kinds of videos: a file; a folder of pictures, one per frame; and a folder of crops of one face, which is not detected again.
FILE, FRAMES, CROPS = KINDS = ("file", "frames", "crops")

Segment = tuple[float, float]  # seconds: begin, end


@dataclass(frozen=True, slots=True)
class Video:
    """A video and its metadata, without the content of the file."""

    video: str  # unique: Method/stem
    method: str
    label: int  # 0 real, 1 fake
    split: str
    identities: tuple[str, ...]  # of the people in it; a fake has two
    path: str  # relative to the project if the file is in it
    mask: str  # ground-truth video of the manipulated region, or empty
    content: str  # hash of the file
    dataset: str  # corpus; DEMO is rendered, so a network trained only on it has never seen a real face
    made_from: tuple[str, ...] = ()  # source videos of a fake; the first is the one whose frames it shows
    kind: str = FILE
    segments: tuple[Segment, ...] = ()  # manipulated parts of a fake that is real otherwise
    frame_rate: float = 0.0  # 0 if it is unknown

    @property
    def stem(self) -> str:
        return self.video.split("/", 1)[1]

    def is_manipulated(self, frame: int) -> bool:
        """Whether this frame is manipulated. Without segments, or without the frame rate, all frames of a fake are."""
        if not (self.label == FAKE and self.segments and self.frame_rate):
            return self.label == FAKE
        return any(begin <= frame / self.frame_rate < end for begin, end in self.segments)

    def key_of_kind(self) -> tuple[str, ...]:
        """The kind as a part of ledger keys; empty for files, so that the keys of older versions stay valid."""
        return () if self.kind == FILE else (self.kind,)


COLUMNS = tuple(field.name for field in fields(Video))
NAME_SEPARATOR = " // "  # names may contain spaces, commas and bars, but not two slashes in a row


def write_index(path: Path, videos: Iterable[Video]) -> None:
    write_csv(path, COLUMNS, map(_row, videos))


def _row(video: Video) -> dict[str, object]:
    return {
        **{column: getattr(video, column) for column in COLUMNS},
        "identities": " ".join(video.identities),
        "made_from": NAME_SEPARATOR.join(video.made_from),
        "segments": format_segments(video.segments),
    }


def format_segments(segments: Iterable[Segment]) -> str:
    """Return segments in seconds as text, such as `1.5..3 7..8.25`."""
    return " ".join(f"{begin:g}..{end:g}" for begin, end in segments)


def parse_segments(text: str) -> tuple[Segment, ...]:
    """Parse the text of `format_segments`. Raises ValueError."""
    segments = []
    for part in text.split():
        begin, separator, end = part.partition("..")
        if not separator or not 0 <= float(begin) < float(end) < math.inf:
            raise ValueError(f"'{part}' is not a segment in seconds, such as 1.5..3")
        segments.append((float(begin), float(end)))
    return tuple(segments)


@dataclass(frozen=True)
class Index:
    """The videos of an index file, read from disk on each iteration, so that millions of them need no memory."""

    path: Path

    def __post_init__(self) -> None:
        if not self.path.is_file():
            raise UserError(f"{self.path} does not exist; run `dvc repro index_videos` or preprocessing/index_videos.py")
        try:
            with self.path.open(newline="") as file:
                columns = tuple(csv.DictReader(file).fieldnames or ())
        except (csv.Error, UnicodeDecodeError):
            columns = ("no text",)
        if columns and columns == COLUMNS[: len(columns)] and columns != COLUMNS:  # later versions append columns
            missing = ", ".join(COLUMNS[len(columns) :])
            raise UserError(f"{self.path} has an old format without {missing}; run preprocessing/index_videos.py again")
        if columns != COLUMNS:
            raise UserError(f"{self.path} is not an index of videos; its columns must be {','.join(COLUMNS)}")

    def __iter__(self) -> Iterator[Video]:
        with self.path.open(newline="") as file:
            rows = csv.DictReader(file, strict=True)
            try:
                yield from map(_video, rows)
            except (csv.Error, ValueError, TypeError, AttributeError) as error:
                reason = f"{self.path} is damaged in line {rows.line_num} ({error}); run preprocessing/index_videos.py again"
                raise UserError(reason) from error


def read_index(path: Path) -> list[Video]:
    return list(Index(path))


def _video(row: dict[str, str]) -> Video:
    made_from = tuple(map(sys.intern, row["made_from"].split(NAME_SEPARATOR))) if row["made_from"] else ()
    return Video(
        video=row["video"],
        method=sys.intern(row["method"]),  # interned: few distinct values in millions of rows
        label=int(row["label"]),
        split=sys.intern(row["split"]),
        identities=tuple(row["identities"].split()),
        path=row["path"],
        mask=sys.intern(row["mask"]),
        content=row["content"],
        dataset=sys.intern(row["dataset"]),
        made_from=made_from,
        kind=sys.intern(row["kind"]),
        segments=parse_segments(row["segments"]),
        frame_rate=float(row["frame_rate"]),
    )


def original_of(fake: Video, videos: Mapping[str, Video]) -> Video | None:
    """Return the real video whose frames the fake shows; None if it is unknown or not among the videos (by name)."""
    original = videos.get(fake.made_from[0]) if fake.label == FAKE and fake.made_from else None
    return original if original and original.label == REAL else None


ALL_BUT, METHOD_SEPARATOR = "All-but-", "+"


def select_dataset(videos: Iterable[Video], dataset: str) -> list[Video]:
    """Return the real videos, and the fakes of the methods: `All`, `A`, `A+B`, or `All-but-A+B` for all others."""
    videos = list(videos)
    if dataset == "All":
        return videos
    methods, names = sorted({video.method for video in videos}), dataset.removeprefix(ALL_BUT)
    selected = {names} if names in methods else set(names.split(METHOD_SEPARATOR))
    if absent := sorted(selected - set(methods)):
        raise UserError(
            f"dataset '{absent[0]}' is not in the index; available: All, {', '.join(methods)}, {ALL_BUT}{methods[0]}, "
            f"{METHOD_SEPARATOR.join(methods[:2])}, …"
        )
    if dataset.startswith(ALL_BUT):
        return [video for video in videos if video.method not in selected]
    return [video for video in videos if video.method in (*selected, ORIGINAL)]
