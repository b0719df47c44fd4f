"""Where the project lies: commands work from any folder, and in the copies that `dvc exp run --temp` makes."""

import os
from pathlib import Path

from pipeline.buckets import is_in_bucket, place

CODE = Path(__file__).resolve().parents[1]


def root() -> Path:
    """The nearest folder at or above the current one that holds the DAG; else the checkout this code runs from."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file() and (folder / "params.yaml").is_file():
            return folder
    return CODE


def from_root(path: str | Path) -> Path:
    """A path as `params.yaml` and `dvc.yaml` write it: relative to the project, or a URL."""
    named = place(path)
    return named if is_in_bucket(named) else root() / named


def absolute(path: Path) -> Path:
    """Without `..`, so that a file has one name wherever the command was called."""
    return path if is_in_bucket(path) else Path(os.path.abspath(path))


def relative(path: Path) -> str:
    """The path as it may be stored: relative to the project where it lies inside, so that no machine's paths are kept."""
    if is_in_bucket(path):
        return str(path)
    path = absolute(path)
    return path.relative_to(root()).as_posix() if path.is_relative_to(root()) else path.as_posix()
