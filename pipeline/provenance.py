"""Provenance of results: hashes of the code that do not change between identical runs."""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from explain_deepfakes.pipeline.params import read_yaml
from explain_deepfakes.pipeline.project import CODE

PACKAGES = ("serving", "explain_model", "model_test_train", "preprocessing", "pipeline")


def code_revision(stage: str) -> str:
    """Return a hash of the code that the stage depends on according to dvc.yaml.

    A commit hash would change with every edit of the README, and the result of an identical rerun would differ.
    """
    return _hash_of(code_of(stage))


@cache
def all_code() -> str:
    """Return a hash of all code of the project, as of the first call."""
    return _hash_of(sorted(file for package in PACKAGES for file in (CODE / package).rglob("*.py")))


def _hash_of(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(CODE).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def code_of(stage: str) -> list[Path]:
    """Return the Python files among the stage's dependencies and in folders among them."""
    deps = [CODE / dep for dep in read_yaml(CODE / "dvc.yaml")["stages"][stage]["deps"]]
    files = [file for dep in deps for file in (dep.rglob("*.py") if dep.is_dir() else [dep]) if file.suffix == ".py"]
    return sorted(file for file in files if file.is_file())
