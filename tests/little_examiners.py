"""Replacements for a worker's examination, which run in the worker's process and fail in different ways."""

import os
import time
from pathlib import Path

from explain_deepfakes.serving.examination.examiner import Examiner, ProgressCallback


def dies_once(examiner: Examiner, upload: Path, name: str, annotated: bool, report_progress: ProgressCallback) -> None:
    mark = upload.parent / "has died"
    if not mark.exists():
        mark.touch()
        os._exit(9)


def dies(examiner: Examiner, upload: Path, name: str, annotated: bool, report_progress: ProgressCallback) -> None:
    os._exit(9)


def runs_long(examiner: Examiner, upload: Path, name: str, annotated: bool, report_progress: ProgressCallback) -> None:
    if name != "quick":
        for step in range(10_000):
            report_progress("going on", step, 10_000)
            time.sleep(0.01)


def ignores_cancellation(
    examiner: Examiner, upload: Path, name: str, annotated: bool, report_progress: ProgressCallback
) -> None:
    if name != "quick":
        report_progress("going on", 0, 1)
        time.sleep(600)


def has_a_bug(examiner: Examiner, upload: Path, name: str, annotated: bool, report_progress: ProgressCallback) -> None:
    if name != "quick":
        raise ValueError("the heat has 3 axes")


def fills_the_disk(examiner: Examiner, upload: Path, name: str, annotated: bool, report_progress: ProgressCallback) -> None:
    if name != "quick":
        Path("/dev/full").write_text("more than fits")


def runs_out_of_memory(examiner: Examiner, upload: Path, name: str, annotated: bool, report_progress: ProgressCallback) -> None:
    if name != "quick":
        bytearray(1 << 60)
