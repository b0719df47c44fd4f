"""The ledger of a stage that works video by video: what is done already, under which key, and what failed and why.

One line of JSON an item, appended as soon as the item's files are on disk, so a killed stage takes up where it was. A key is a
hash of all that the item's result depends on: the video's content, the settings that matter, the code's version.
`settle` rewrites it sorted, so that the same work leaves the same bytes in whatever order it was done.

Of a ledger in a bucket, where nothing can be appended, the lines that are new lie in a journal in this project until then.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipeline.buckets import is_in_bucket, version_of
from pipeline.disk_dict import DiskDict
from pipeline.errors import UserError
from pipeline.outputs import atomic_write, write_csv
from pipeline.project import from_root

FAILURE_COLUMNS = ("file", "reason", "remedy")
JOURNALS = "data/journals"
Entry = dict[str, Any]


def key_of(*parts: Any) -> str:
    """A short hash of what a result depends on; the parts are plain values, or dataclasses turned into dicts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]


def content_hash(path: Path) -> str:
    """The hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file: Any) -> str:  # Python 3.10 has no file_digest
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


class Entries(MutableMapping[str, Entry]):
    """By name, in its order; each kept as its line of JSON, on disk."""

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
    """`known` is what another ledger says of the items that this one is silent about."""

    def __init__(self, path: Path, known: Mapping[str, Entry] = MappingProxyType({})) -> None:
        self.path, self.known = path, known
        self.journal = _journal_of(path) if is_in_bucket(path) else path
        self.entries = Entries(line for place in dict.fromkeys((path, self.journal)) for line in _read_lines(place))

    def entry(self, name: str) -> Entry:
        """What is known of the item; empty if nothing is."""
        return self.entries.get(name) or self.known.get(name) or {}

    def is_current(self, name: str, key: str) -> bool:
        """Whether the item was done, or failed, under this very key."""
        return self.entry(name).get("key") == key

    def record(self, name: str, key: str, **facts: Any) -> None:
        """The item's result is on disk: remember it. A failure is recorded with `reason` and `remedy` among the facts."""
        self.entries[name] = {"name": name, "key": key, **facts}
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        with self.journal.open("a") as file:
            file.write("\n" + self.entries.lines[name] + "\n")  # a cut line before it must not swallow this one
            file.flush()
            os.fsync(file.fileno())

    def settle(self, names: Iterable[str]) -> list[str]:
        """Keep these items, forget the others, and return the forgotten ones, whose files are the caller's to remove."""
        before = self.entries.lines
        self.entries = Entries((name, line) for name in names if (line := before.get(name)))
        if not self._is_settled():
            with atomic_write(self.path) as unfinished, unfinished.open("w") as file:
                file.writelines(self._lines())
        if self.journal != self.path:
            self.journal.unlink(missing_ok=True)
        return [name for name in before if name not in self.entries]

    def _is_settled(self) -> bool:
        if not self.path.is_file():
            return False
        with self.path.open(errors="replace") as file:
            return all(there == wanted for there, wanted in zip_longest(file, self._lines()))

    def _lines(self) -> Iterator[str]:
        return (line + "\n" for line in self.entries.lines.values())


def _journal_of(path: Path) -> Path:
    """Of the ledger as it is now: what was noted before somebody else put another there says nothing of that."""
    return from_root(JOURNALS) / f"{key_of(str(path), version_of(path))}.jsonl"


def _read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Each with its name. Those that cannot be read are left out: what they told of is done again."""
    if not path.exists():
        return
    damaged = 0
    with path.open(errors="replace") as file:
        for line in filter(None, map(str.strip, file)):
            if entry := _read_entry(line):
                yield entry["name"], line
            else:
                damaged += 1
    if damaged:
        print(f"{path}: {damaged} of its lines cannot be read; what they told of is done again", file=sys.stderr)


def _read_entry(line: str) -> Entry | None:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return None
    keyed = isinstance(entry, dict) and all(isinstance(entry.get(field), str) for field in ("name", "key"))
    return entry if keyed and isinstance(entry.get("outputs", []), list) else None


def report_failures(entries: Iterable[Entry], path: Path, max_failed_fraction: float) -> None:
    """Write the failures among the entries as a table; too many of them end the stage."""
    count, failed = 0, []
    for entry in entries:
        count += 1
        if "reason" in entry:
            failed.append({column: entry[column] for column in FAILURE_COLUMNS})
    write_csv(path, FAILURE_COLUMNS, failed)
    if failed:
        print(f"{len(failed)} of {count} videos failed; the reasons are in {path}")
    if len(failed) > max_failed_fraction * count:
        raise UserError(
            f"{len(failed)} of {count} videos failed, more than max_failed_fraction "
            f"({max_failed_fraction:g}) allows; the first: {failed[0]['file']}: {failed[0]['reason']}"
        )
