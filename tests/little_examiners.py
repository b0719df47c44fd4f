"""What a worker may be made to do instead of examining; it runs in the worker's own process."""

import os
import time
from pathlib import Path
from typing import Any

from serving.examination.examiner import ProgressCallback


def dies_once(examiner: Any, upload: Path, name: str, annotated: bool, report_progress: ProgressCallback) -> None:
    mark = upload.parent / "has died"
    if not mark.exists():
        mark.touch()
        os._exit(9)


def dies(examiner: Any, upload: Path, name: str, annotated: bool, report_progress: ProgressCallback) -> None:
    os._exit(9)


def goes_on(examiner: Any, upload: Path, name: str, annotated: bool, report_progress: ProgressCallback) -> None:
    if name != "quick":
        for step in range(10_000):
            report_progress("going on", step, 10_000)
            time.sleep(0.01)


def is_deaf(examiner: Any, upload: Path, name: str, annotated: bool, report_progress: ProgressCallback) -> None:
    if name != "quick":
        report_progress("going on", 0, 1)
        time.sleep(600)


def has_a_bug(examiner: Any, upload: Path, name: str, annotated: bool, report_progress: ProgressCallback) -> None:
    if name != "quick":
        raise ValueError("the heat has 3 axes")


def fills_the_disk(examiner: Any, upload: Path, name: str, annotated: bool, report_progress: ProgressCallback) -> None:
    if name != "quick":
        Path("/dev/full").write_text("more than fits")


def runs_out_of_memory(examiner: Any, upload: Path, name: str, annotated: bool, report_progress: ProgressCallback) -> None:
    if name != "quick":
        bytearray(1 << 60)
