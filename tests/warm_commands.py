"""The project's commands, run as a user runs them, but each in a process forked off one that has imported the large libraries.

Else most of the tests' time would be the same imports, again and again. The project's own code is not among what is imported
before, and nothing of a command is left for the next.
"""

import atexit
import multiprocessing
import os
import subprocess
import sys
import tempfile
import types
from collections.abc import Sequence
from pathlib import Path

LARGE = ["torch", "torchvision", "timm", "cv2", "av", "pandas", "matplotlib.pyplot", "scipy.optimize", "sklearn.metrics"]
MOST_SECONDS = 600
WARM = multiprocessing.get_context("forkserver")
WARM.set_forkserver_preload(LARGE)


def run_warm(script: Path, flags: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run([python, script, *flags], cwd=cwd, capture_output=True, text=True)`."""
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder) / name for name in ("out", "err")]
        process = WARM.Process(target=_command, args=(str(script), [*flags], str(cwd), dict(os.environ), *map(str, streams)))
        process.start()
        process.join(MOST_SECONDS)
        process.kill()  # where it is stuck
        process.join()
        told = [stream.read_text() for stream in streams]
    return subprocess.CompletedProcess([str(script), *flags], process.exitcode or 0, *told)


def _command(script: str, flags: list[str], cwd: str, environment: dict[str, str], out: str, err: str) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for stream, path in ((1, out), (2, err)):
        with open(path, "wb") as file:
            os.dup2(file.fileno(), stream)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", closefd=False) for stream in (1, 2))
    sys.argv = [script, *flags]
    main = types.ModuleType("__main__")
    main.__file__ = script
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main  # processes that it starts know it by the second name
    try:
        exec(compile(Path(script).read_text(), script, "exec"), main.__dict__)
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
