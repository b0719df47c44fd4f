"""Keeping a stage's outputs up to date, video by video: what is new or stale is worked on, what vanished is removed.

A killed run takes up where it was, and ends with the same bytes as an undisturbed one.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.index import Video
from pipeline.ledger import Ledger
from pipeline.outputs import remove_empty_folders, sweep
from pipeline.progress import track
from pipeline.workers import map_unordered

LEDGER, FAILURES = "ledger.jsonl", "failures.csv"


@dataclass(frozen=True)
class Job:
    video: Video
    key: str  # hash of all that the result depends on


@dataclass(frozen=True)
class Outcome:
    """What became of a video. `reason` and `remedy` tell of a failure, which may leave an output all the same."""

    job: Job
    outputs: tuple[str, ...]  # files and folders, relative to the stage's folder
    facts: dict[str, Any]


def failure(job: Job, reason: str, remedy: str, outputs: tuple[str, ...] = ()) -> Outcome:
    return Outcome(job, outputs, {"reason": reason, "remedy": remedy})


def keep_up(
    folder: Path,
    jobs: Sequence[Job],
    work: Callable[[Job], Outcome],
    what: str,
    workers: int,
    max_failed_fraction: float,
) -> None:
    """Does the jobs that are due. `work` writes a job's output before it returns, and runs in other processes."""
    sweep(folder)
    ledger = Ledger(folder / LEDGER)
    due = [job for job in jobs if not _is_done(folder, ledger, job)]
    for outcome in track(map_unordered(work, due, min(workers, len(due))), len(due), what, "videos"):
        _record(folder, ledger, outcome)
    names = {job.video.video for job in jobs}
    for name in set(ledger.entries) - names:
        for output in ledger.entries[name].get("outputs", ()):
            _remove(folder / output)
    ledger.settle(names)
    remove_empty_folders(folder)
    ledger.report_failures(folder / FAILURES, max_failed_fraction)


def _is_done(folder: Path, ledger: Ledger, job: Job) -> bool:
    name = job.video.video
    if not ledger.is_current(name, job.key):
        return False
    return all((folder / output).exists() for output in ledger.entries[name].get("outputs", ()))


def _record(folder: Path, ledger: Ledger, outcome: Outcome) -> None:
    video = outcome.job.video
    for before in ledger.entries.get(video.video, {}).get("outputs", ()):
        if before not in outcome.outputs:
            _remove(folder / before)
    ledger.record(video.video, outcome.job.key, file=video.path, outputs=outcome.outputs, **outcome.facts)


def _remove(output: Path) -> None:
    if output.is_dir():
        shutil.rmtree(output)
    else:
        output.unlink(missing_ok=True)
