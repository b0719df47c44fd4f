"""All or nothing on disk: written aside, flushed, renamed. Whoever reads a file of ours reads the whole of it."""

import contextlib
import csv
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipeline.buckets import atomic_upload, is_in_bucket, remove_from_bucket

FLUSHED_AT_ONCE = 8  # a disk takes the 20 files of a folder so in a tenth of the time: 9 ms instead of 90
ASIDE = ".part"  # `.dvcignore` knows it too: what a killed run left behind is no part of any output
HERE = uuid.uuid4().int % 10**6  # beside a process id: machines that share a disk have the same ones
LEFTOVER = re.compile(rf"\.(?P<stem>.+)\.\d+{re.escape(ASIDE)}(?P<suffix>.*)")
LONGEST_NAME = 255  # bytes; what Linux's file systems take
ADDED = len(f"..{2**22}{10**6 - 1:06d}{ASIDE}")  # by `aside` to a name, at most: Linux counts processes to 2^22
LONGEST_SUFFIX = 16  # bytes; what is longer names no format


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a path to write a file or fill a folder at; it takes the place of `path` only if the block ends well."""
    if is_in_bucket(path):
        with atomic_upload(path) as unfinished:
            yield unfinished
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    short = Path(_leaving_space(path.name))
    unfinished = path.with_name(f".{short.stem}.{os.getpid()}{HERE:06d}{ASIDE}{short.suffix}")
    try:
        yield unfinished
        _flush(unfinished)
        if path.is_dir():
            shutil.rmtree(path)  # a folder cannot be renamed over another
        os.replace(unfinished, path)
    finally:
        remove(unfinished)


def _leaving_space(name: str) -> str:
    """The name, shortened where there is no space for what `aside` adds; writers go by its suffix, which stays."""
    suffix = Path(name).suffix
    if len(os.fsencode(suffix)) > LONGEST_SUFFIX:
        suffix = ""
    most = LONGEST_NAME - ADDED - len(os.fsencode(suffix))
    return shortened(name.removesuffix(suffix), most) + suffix


def shortened(name: str, most: int) -> str:
    """The name itself, or if it has more bytes, its beginning with a hash of the whole."""
    content = name.encode(errors="surrogateescape")
    if len(content) <= most:
        return name
    digest = hashlib.sha256(content).hexdigest()[:8]
    return content[: most - len(digest) - 1].decode(errors="ignore") + "~" + digest


def write_bytes(path: Path, content: bytes) -> None:
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_json_if_changed(path: Path, content: Any) -> None:
    """A file that is as it should be keeps its time of change."""
    if not path.is_file() or json.loads(path.read_text()) != content:
        write_json(path, content)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows -> CSV; floats are written so that they read back as the same numbers."""
    with atomic_write(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def sweep(targets: Iterable[Path]) -> None:
    """Remove what killed runs left unfinished of these files and folders, and nothing of any other."""
    found: dict[Path, dict[str, list[Path]]] = {}
    for target in targets:
        if is_in_bucket(target):  # nothing is unfinished there
            continue
        if target.parent not in found:
            found[target.parent] = _leftovers_in(target.parent)
        for leftover in found[target.parent].pop(_leaving_space(target.name), ()):
            remove(leftover)


def _leftovers_in(folder: Path) -> dict[str, list[Path]]:
    """By the name of what they were to become, shortened if it is long."""
    found: dict[str, list[Path]] = {}
    for leftover in folder.glob(f".*{ASIDE}*"):
        if whose := LEFTOVER.fullmatch(leftover.name):
            found.setdefault(whose["stem"] + whose["suffix"], []).append(leftover)
    return found


def remove(path: Path) -> None:
    """A file, or a folder with all that is in it; or nothing, if it is not there."""
    if is_in_bucket(path):
        remove_from_bucket(path)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_empty_folders(folder: Path, top: Path) -> None:
    """The folder and those above it, as far as they are empty; `top` stays."""
    while folder != top:
        try:
            folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError:  # it is not empty
            return
        folder = folder.parent


def _flush(path: Path) -> None:
    """To the disk, so that a power cut after the rename cannot leave an empty file of the right name."""
    if not path.is_dir():
        return _flush_file(path)
    with ThreadPoolExecutor(FLUSHED_AT_ONCE) as pool:
        list(pool.map(_flush_file, (file for file in path.rglob("*") if file.is_file())))


def _flush_file(path: Path) -> None:
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())
