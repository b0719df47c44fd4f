"""Paths relative to the project: commands work from any folder, and in the copies that `dvc exp run --temp` makes."""

import os
from pathlib import Path

from explain_deepfakes.pipeline.buckets import is_in_bucket, parse_path

CODE = Path(__file__).resolve().parents[1]  # the checkout, or the installed package
IS_CHECKOUT = (CODE / "pyproject.toml").is_file()

FORMULA_SIGNS = ("=", "+", "-", "@")  # a spreadsheet takes a cell that begins with one as a formula


def root() -> Path:
    """Return the nearest folder, from the current one upwards, with dvc.yaml and params.yaml.

    Outside a project it is this checkout. The installed package writes to the current folder instead.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file() and (folder / "params.yaml").is_file():
            return folder
    return CODE if IS_CHECKOUT else here


def find_file(path: str | Path) -> Path:
    """Return the file of the project, or else the one that is installed with the code: settings and networks."""
    own = from_root(path)
    return own if own.is_file() or not (CODE / path).is_file() else CODE / path


def from_root(path: str | Path) -> Path:
    """Resolve a path of `params.yaml` or `dvc.yaml`, which is relative to the project or a URL."""
    parsed = parse_path(path)
    return parsed if is_in_bucket(parsed) else root() / parsed


def absolute(path: Path) -> Path:
    """Return the absolute path without `..`, which does not depend on the current folder."""
    return path if is_in_bucket(path) else Path(os.path.abspath(path))


def relative(path: Path) -> str:
    """Return the path to store in outputs: relative to the project if it is inside, so that it is the same on all machines."""
    if is_in_bucket(path):
        return str(path)
    path = absolute(path)
    if not path.is_relative_to(root()):
        return path.as_posix()
    name = path.relative_to(root()).as_posix()
    return f"./{name}" if name.startswith(FORMULA_SIGNS) else name
