"""What a worker may be made to do instead of examining; it runs in the worker's own process."""

import os
import time
from pathlib import Path
from typing import Any

from serving.examining import Say


def dies_once(examiner: Any, upload: Path, name: str, annotated: bool, say: Say) -> None:
    mark = upload.parent / "has died"
    if not mark.exists():
        mark.touch()
        os._exit(9)


def dies(examiner: Any, upload: Path, name: str, annotated: bool, say: Say) -> None:
    os._exit(9)


def goes_on(examiner: Any, upload: Path, name: str, annotated: bool, say: Say) -> None:
    if name != "quick":
        for step in range(10_000):
            say("going on", step, 10_000)
            time.sleep(0.01)


def is_deaf(examiner: Any, upload: Path, name: str, annotated: bool, say: Say) -> None:
    if name != "quick":
        say("going on", 0, 1)
        time.sleep(600)
