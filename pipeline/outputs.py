"""Atomic writes: outputs are written to a temporary name, flushed and renamed, so that readers never see partial files."""

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

from explain_deepfakes.pipeline.buckets import atomic_upload, is_in_bucket, remove_from_bucket
from explain_deepfakes.pipeline.errors import UserError

FLUSH_THREADS = 8  # flushing the 20 files of a folder takes 9 ms instead of 90
PART_SUFFIX = ".part"  # also in `.dvcignore`: leftovers of a killed run are not part of any output
HOST_ID = uuid.uuid4().int % 10**6  # process ids alone are not unique among machines that share a disk
LEFTOVER = re.compile(rf"\.(?P<stem>.+)\.\d+{re.escape(PART_SUFFIX)}(?P<suffix>.*)")
MAX_NAME_BYTES = 255  # of Linux file systems
ADDED_BYTES = len(f"..{2**22}{10**6 - 1:06d}{PART_SUFFIX}")  # that `atomic_write` adds at most: process ids on Linux go to 2^22
MAX_SUFFIX_BYTES = 16  # a longer suffix does not name a file format


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path for a file or folder, which replaces `path` when the block ends without an error."""
    if is_in_bucket(path):
        with atomic_upload(path) as unfinished:
            yield unfinished
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    short = Path(_name_with_space(path.name))
    unfinished = path.with_name(f".{short.stem}.{os.getpid()}{HOST_ID:06d}{PART_SUFFIX}{short.suffix}")
    try:
        yield unfinished
        _flush(unfinished)
        if path.is_dir():
            if not unfinished.is_dir():
                raise UserError(f"{path} is a folder, but a file would be written there; name a file")
            shutil.rmtree(path)  # a folder cannot be renamed over another
        os.replace(unfinished, path)
    finally:
        remove(unfinished)


def _name_with_space(name: str) -> str:
    """Shorten a name that is too long for what `atomic_write` adds. Keep its suffix, which determines the format."""
    suffix = Path(name).suffix
    if len(os.fsencode(suffix)) > MAX_SUFFIX_BYTES:
        suffix = ""
    max_bytes = MAX_NAME_BYTES - ADDED_BYTES - len(os.fsencode(suffix))
    return shorten_name(name.removesuffix(suffix), max_bytes) + suffix


def shorten_name(name: str, max_bytes: int) -> str:
    """Return the name, or if it is too long, its beginning followed by a hash of the name."""
    content = name.encode(errors="surrogateescape")
    if len(content) <= max_bytes:
        return name
    digest = hashlib.sha256(content).hexdigest()[:8]
    return content[: max_bytes - len(digest) - 1].decode(errors="ignore") + "~" + digest


def write_bytes(path: Path, content: bytes) -> None:
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    write_bytes(path, content.encode())


def write_json(path: Path, content: object) -> None:
    write_bytes(path, _json_bytes(content))


def write_json_if_changed(path: Path, content: object) -> None:
    """Write the file unless it has this content already, so that its modification time is kept."""
    if not path.is_file() or path.read_bytes() != _json_bytes(content):
        write_json(path, content)


def _json_bytes(content: object) -> bytes:
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows as CSV. Floats are written so that reading returns exactly the same numbers."""
    with atomic_write(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def remove_leftovers(targets: Iterable[Path]) -> None:
    """Remove unfinished versions of these files and folders that killed runs left behind."""
    leftovers: dict[Path, dict[str, list[Path]]] = {}
    for target in targets:
        if is_in_bucket(target):  # uploads are atomic
            continue
        if target.parent not in leftovers:
            leftovers[target.parent] = _leftovers_in(target.parent)
        for leftover in leftovers[target.parent].pop(_name_with_space(target.name), ()):
            remove(leftover)


def _leftovers_in(folder: Path) -> dict[str, list[Path]]:
    """Return the leftovers by the name of their target, shortened if it is long."""
    leftovers: dict[str, list[Path]] = {}
    for leftover in folder.glob(f".*{PART_SUFFIX}*"):
        if match := LEFTOVER.fullmatch(leftover.name):
            leftovers.setdefault(match["stem"] + match["suffix"], []).append(leftover)
    return leftovers


def remove(path: Path) -> None:
    """Remove a file, or a folder with its content, if it exists."""
    if is_in_bucket(path):
        remove_from_bucket(path)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_empty_folders(folder: Path, top: Path) -> None:
    """Remove the folder and its parents up to `top`, which stays, as long as they are empty."""
    while folder != top:
        try:
            folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError:  # not empty
            return
        folder = folder.parent


def _flush(path: Path) -> None:
    """Flush to the disk, so that a power cut after the rename cannot leave an empty file under the final name."""
    if not path.is_dir():
        return _flush_file(path)
    with ThreadPoolExecutor(FLUSH_THREADS) as pool:
        list(pool.map(_flush_file, (file for file in path.rglob("*") if file.is_file())))


def _flush_file(path: Path) -> None:
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())
