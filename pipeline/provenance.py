"""Where a result came from, in facts that do not change from one run to the next."""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from pipeline.params import read_yaml
from pipeline.project import CODE

ROOMS = ("serving", "explain_model", "model_test_train", "preprocessing", "pipeline")


def code_revision(stage: str) -> str:
    """A hash of the code that dvc.yaml says the stage's result depends on.

    Not the commit: that changes with every note in the README, and a result would then differ from its own rerun.
    """
    return _hash_of(code_of(stage))


@cache
def all_code() -> str:
    """A hash of all code of the project, as it is when it is first asked for."""
    return _hash_of(sorted(file for room in ROOMS for file in (CODE / room).rglob("*.py")))


def _hash_of(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(CODE).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def code_of(stage: str) -> list[Path]:
    """The Python files among the stage's dependencies, and in the folders among them."""
    deps = [CODE / dep for dep in read_yaml(CODE / "dvc.yaml")["stages"][stage]["deps"]]
    found = [file for dep in deps for file in (dep.rglob("*.py") if dep.is_dir() else [dep]) if file.suffix == ".py"]
    return sorted(file for file in found if file.is_file())
