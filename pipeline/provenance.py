"""Where a result came from, in facts that do not change from one run to the next."""

import hashlib
import sys
from pathlib import Path

from pipeline.project import CODE


def code_revision() -> str:
    """A hash of the project's modules that this process has loaded.

    Not the commit: that changes with every note in the README, and a result would then differ from its own rerun.
    """
    files = sorted({Path(module.__file__) for module in sys.modules.values() if _is_ours(module)})  # type: ignore[arg-type]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(CODE).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def _is_ours(module: object) -> bool:
    file = getattr(module, "__file__", None)
    if not file or not Path(file).is_absolute() or not Path(file).is_relative_to(CODE):
        return False
    return Path(file).relative_to(CODE).parts[0] in ("pipeline", "preprocessing", "model_test_train", "explain_model")
