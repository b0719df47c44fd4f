"""Jobs: a file that came in, what becomes of it, and for how long. Each has a folder, so that a new start finds them again."""

import json
import re
import secrets
import shutil
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.outputs import write_json

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
OVER = {DONE, FAILED, CANCELLED}
RECORD, UPLOAD, REPORT = "job.json", "upload", "report.html"
FOUND, PLAYED, ANNOTATED, HEAT = "found.json", "played.mp4", "annotated.mp4", "heat"
RECORDED = ("id", "name", "batch", "annotated", "state", "error", "tries", "begun", "ended")
ID_BYTES = 12
ID = re.compile(r"[\w-]{16}")


@dataclass
class Job:
    """Written to by one worker at a time; `changes` counts up with everything that can be seen of it."""

    id: str
    name: str  # as its sender called the file: shown, and never a path
    folder: Path
    batch: str = ""  # a label of its sender's
    annotated: bool = False  # whether a video with boxes, scores and heat in it is wanted too
    state: str = QUEUED
    doing: str | None = None  # while it runs
    done: int = 0
    total: int = 0
    error: str | None = None
    tries: int = 0
    begun: float = field(default_factory=time.time)
    ended: float | None = None
    changes: int = 0

    def __post_init__(self) -> None:
        self.is_cancelled = threading.Event()

    @property
    def upload(self) -> Path:
        return self.folder / UPLOAD

    @property
    def report(self) -> Path:
        return self.folder / REPORT

    @property
    def found(self) -> dict[str, Any] | None:
        """The verdict, as soon as there is one."""
        path = self.folder / FOUND
        return json.loads(path.read_text()) if path.is_file() else None

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    def say(self, doing: str, done: int, total: int) -> None:
        self.doing, self.done, self.total = doing, done, total
        self.changes += 1

    def become(self, state: str, error: str | None = None) -> None:
        """Also where the disk is full: then the next start of the server finds an earlier state, and does the job again."""
        self.error, self.doing = error, None
        self.ended = time.time() if state in OVER else None
        self.state = state  # after them: whoever sees that the job is over sees why
        self.changes += 1
        try:
            self.record()
        except OSError as failed:
            print(f"job {self.id} is {state}, which could not be recorded: {failed}", file=sys.stderr, flush=True)

    def record(self) -> None:
        if self.folder.is_dir():  # else it is being removed
            write_json(self.folder / RECORD, {name: getattr(self, name) for name in RECORDED})


def is_of_a_job(folder: Path) -> bool:
    """Whether the store made it: the user may have named a folder in which other things lie, and these are left alone."""
    if not ID.fullmatch(folder.name) or not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    return not names or bool(names & {RECORD, UPLOAD})


def read_job(folder: Path) -> Job | None:
    """By its record; None if that was never written, or only in part."""
    try:
        record = json.loads((folder / RECORD).read_text())
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(record, dict) or record.keys() != set(RECORDED):
        return None
    return Job(**record, folder=folder)


class Store:
    """All jobs that are known, in memory and in a folder; those that are over go when their time is up."""

    def __init__(self, folder: Path, keep_minutes: float) -> None:
        self.folder, self.keep_seconds = folder, 60 * keep_minutes
        self.jobs: dict[str, Job] = {}
        self.lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def new(self, name: str, batch: str = "", annotated: bool = False) -> Job:
        job = Job(secrets.token_urlsafe(ID_BYTES), name, Path(), batch, annotated)
        job.folder = self.folder / job.id
        job.folder.mkdir()
        with self.lock:
            self.jobs[job.id] = job
        return job

    def get(self, id: str) -> Job | None:
        with self.lock:
            return self.jobs.get(id)

    def all(self) -> list[Job]:
        with self.lock:
            return list(self.jobs.values())

    def remove(self, job: Job) -> None:
        with self.lock:
            self.jobs.pop(job.id, None)
        shutil.rmtree(job.folder, ignore_errors=True)

    def recover(self) -> list[Job]:
        """Those of an earlier run that were not over, to be done now. One whose record is broken is removed."""
        waiting = []
        for folder in filter(is_of_a_job, sorted(self.folder.iterdir())):
            job = read_job(folder)
            if job is None:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            self.jobs[job.id] = job
            if not job.is_over:
                job.state = QUEUED
                waiting.append(job)
        return sorted(waiting, key=lambda job: job.begun)

    def sweep(self) -> None:
        """Removes those whose time is up."""
        now = time.time()
        with self.lock:
            old = [job for job in self.jobs.values() if job.ended and now - job.ended > self.keep_seconds]
        for job in old:
            self.remove(job)
