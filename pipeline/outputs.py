"""All or nothing on disk: written aside, flushed, renamed. Whoever reads a file of ours reads the whole of it."""

import contextlib
import csv
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ASIDE = ".part"  # `.dvcignore` knows it too: what a killed run left behind is no part of any output


@contextlib.contextmanager
def aside(path: Path) -> Iterator[Path]:
    """Yields a path to write a file or fill a folder at; it takes the place of `path` only if the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}{ASIDE}{path.suffix}")
    try:
        yield unfinished
        _flush(unfinished)
        if path.is_dir():
            shutil.rmtree(path)  # a folder cannot be renamed over another
        os.replace(unfinished, path)
    finally:
        _remove(unfinished)


def write_bytes(path: Path, content: bytes) -> None:
    with aside(path) as unfinished:
        unfinished.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows -> CSV; floats are written so that they read back as the same numbers."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def sweep(folder: Path) -> None:
    """Remove what a killed run left unfinished below the folder."""
    for leftover in list(folder.rglob(f".*{ASIDE}*")):
        _remove(leftover)


def remove_empty_folders(folder: Path) -> None:
    """Below the folder, deepest first; the folder itself stays."""
    for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()


def _flush(path: Path) -> None:
    """To the disk, so that a power cut after the rename cannot leave an empty file of the right name."""
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb+") as handle:
                os.fsync(handle.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
