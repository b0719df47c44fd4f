"""The ledger of a stage that works item by item: which items are done, under which key, and which failed and why.

One line of JSON per item, appended as soon as the item's files are on disk, so that a killed stage resumes. A key is a hash of
everything that the item's result depends on: the video's content, the relevant settings, the version of the code.
`compact` rewrites the ledger in sorted order, so that the bytes do not depend on the order of the work.

Nothing can be appended to a ledger in a bucket: until `compact`, its new lines are in a journal in this project.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import TypedDict, cast

from explain_deepfakes.pipeline.buckets import is_in_bucket, object_version
from explain_deepfakes.pipeline.disk_dict import DiskDict
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.outputs import atomic_write, write_csv
from explain_deepfakes.pipeline.project import from_root

FAILURE_COLUMNS = ("file", "reason", "remedy")
JOURNALS = "data/journals"


class Entry(TypedDict, total=False):
    """A line of a ledger. `name` and `key` are always there; an entry with `reason` and `remedy` is a failure."""

    name: str
    key: str
    file: str
    reason: str
    remedy: str
    outputs: list[str]  # of stages that update_outputs runs: files and folders, relative to the stage's folder
    files: list[str]  # of generated corpora
    crops: list[tuple[str, int, int, int, int, int, int]]  # of extract_crops: file name, frame, track, x0, y0, x1, y1
    undecoded: list[int]  # of extract_crops: frames with boxes that could not be decoded
    points: list[float]  # of portraits: the five landmarks
    size: list[int]  # of portraits: width, height
    skin: list[float]  # of portraits: CIE Lab


def key_of(*dependencies: object) -> str:
    """Return a short hash of what a result depends on: plain values, or dataclasses as dicts."""
    return hashlib.sha256(json.dumps(dependencies, sort_keys=True).encode()).hexdigest()[:20]


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Entries(MutableMapping[str, Entry]):
    """The entries of a ledger by name, in sorted order, kept on disk as lines of JSON."""

    def __init__(self, lines: Iterable[tuple[str, str]] = ()) -> None:
        self.lines = DiskDict(lines)

    def __getitem__(self, name: str) -> Entry:
        entry: Entry = json.loads(self.lines[name])
        return entry

    def __setitem__(self, name: str, entry: Entry) -> None:
        self.lines[name] = json.dumps(entry)

    def __delitem__(self, name: str) -> None:
        del self.lines[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)


class Ledger:
    """`fallback` has the entries of another ledger, for items that this one has no entry for."""

    def __init__(self, path: Path, fallback: Mapping[str, Entry] = MappingProxyType({})) -> None:
        self.path, self.fallback = path, fallback
        self.journal = _journal_of(path) if is_in_bucket(path) else path
        self.entries = Entries(line for file in dict.fromkeys((path, self.journal)) for line in _read_lines(file))

    def entry(self, name: str) -> Entry:
        """Return the item's entry, or an empty one."""
        return self.entries.get(name) or self.fallback.get(name) or {}

    def is_current(self, name: str, key: str) -> bool:
        """Whether the item was finished, or failed, under this key."""
        return self.entry(name).get("key") == key

    def record(self, name: str, key: str, **facts: object) -> None:
        """Append an item whose result is on disk. The facts of a failure include `reason` and `remedy`."""
        self.entries[name] = cast(Entry, {"name": name, "key": key, **facts})
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        with self.journal.open("a") as file:
            file.write("\n" + self.entries.lines[name] + "\n")  # begins on a new line, in case the line before is truncated
            file.flush()
            os.fsync(file.fileno())

    def compact(self, names: Iterable[str]) -> list[str]:
        """Drop all other items, and rewrite the ledger. Returns the dropped names; removing their files is up to the caller."""
        before = self.entries.lines
        self.entries = Entries((name, line) for name in names if (line := before.get(name)))
        if not self._is_compact():
            with atomic_write(self.path) as unfinished, unfinished.open("w") as file:
                file.writelines(self._lines())
        if self.journal != self.path:
            self.journal.unlink(missing_ok=True)
        return [name for name in before if name not in self.entries]

    def _is_compact(self) -> bool:
        if not self.path.is_file():
            return False
        with self.path.open(errors="replace") as file:
            return all(line == expected for line, expected in zip_longest(file, self._lines()))

    def _lines(self) -> Iterator[str]:
        return (line + "\n" for line in self.entries.lines.values())


def _journal_of(path: Path) -> Path:
    """Return the journal of this version of the ledger: one of a version that somebody else replaced is ignored."""
    return from_root(JOURNALS) / f"{key_of(str(path), object_version(path))}.jsonl"


def _read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the names and lines. Damaged lines are left out, so their items are processed again."""
    if not path.exists():
        return
    damaged = 0
    with path.open(errors="replace") as file:
        for line in filter(None, map(str.strip, file)):
            if entry := _parse_entry(line):
                yield entry["name"], line
            else:
                damaged += 1
    if damaged:
        print(f"{path}: ignored {damaged} damaged line(s); their items are processed again", file=sys.stderr)


def _parse_entry(line: str) -> Entry | None:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return None
    has_name_and_key = isinstance(entry, dict) and all(isinstance(entry.get(field), str) for field in ("name", "key"))
    return cast(Entry, entry) if has_name_and_key and isinstance(entry.get("outputs", []), list) else None


def report_failures(entries: Iterable[Entry], path: Path, max_failed_fraction: float) -> None:
    """Write the failures among the entries as a table. Too many failures end the stage."""
    count, failed = 0, []
    for entry in entries:
        count += 1
        if "reason" in entry:
            failed.append({"file": entry["file"], "reason": entry["reason"], "remedy": entry["remedy"]})
    write_csv(path, FAILURE_COLUMNS, failed)
    if failed:
        print(f"{len(failed)} of {count} videos failed; the reasons are in {path}")
    if len(failed) > max_failed_fraction * count:
        raise UserError(
            f"{len(failed)} of {count} videos failed, more than max_failed_fraction "
            f"({max_failed_fraction:g}) allows; the first is {failed[0]['file']}: {failed[0]['reason']}"
        )
