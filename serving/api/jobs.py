"""Jobs: an uploaded file, its state and its results. Each job has a folder, so that jobs survive a restart of the server."""

import fcntl
import json
import os
import re
import secrets
import shutil
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.outputs import write_json
from explain_deepfakes.serving.examination.records import FileRecord

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
FINAL_STATES = {DONE, FAILED, CANCELLED}
MARKER = ".jobs"  # in the folder of all jobs; the running server holds a lock on it
RECORD, UPLOAD, REPORT = "job.json", "upload", "report.html"
RESULT, PLAYABLE, ANNOTATED, HEAT = "result.json", "played.mp4", "annotated.mp4", "heat"
RECORDED_FIELDS = ("id", "name", "batch", "annotated", "owner", "state", "error", "tries", "begun", "ended")
ID_BYTES = 12
ID_PATTERN = re.compile(r"[\w-]{16}")


@dataclass
class Job:
    """One worker at a time writes to it; `changes` grows with every visible change."""

    id: str
    name: str  # the sender's name of the file: displayed, never used as a path
    folder: Path
    batch: str = ""  # a label chosen by the sender
    annotated: bool = False  # whether to make a video with boxes, scores and heatmaps, too
    owner: str = ""  # hash of the sender's token; empty without tokens
    state: str = QUEUED
    doing: str | None = None  # the current step while it runs
    done: int = 0
    total: int = 0
    error: str | None = None
    tries: int = 0
    begun: float = field(default_factory=time.time)
    ended: float | None = None
    changes: int = 0

    def __post_init__(self) -> None:
        self.is_cancelled = threading.Event()
        # On the clock that never jumps; after a restart, as the other clock says.
        self.ended_monotonic = time.monotonic() - max(0.0, time.time() - (self.ended or time.time()))

    @property
    def upload(self) -> Path:
        return self.folder / UPLOAD

    @property
    def report(self) -> Path:
        return self.folder / REPORT

    @property
    def result(self) -> FileRecord | None:
        """The verdict and its evidence; None until there is a verdict."""
        path = self.folder / RESULT
        if not path.is_file():
            return None
        record: FileRecord = json.loads(path.read_text())
        return record

    @property
    def is_finished(self) -> bool:
        return self.state in FINAL_STATES

    def report_progress(self, doing: str, done: int, total: int) -> None:
        self.doing, self.done, self.total = doing, done, total
        self.changes += 1

    def set_state(self, state: str, error: str | None = None) -> None:
        """Change the state, even if the disk is full: the next server then reads an earlier state and runs the job again."""
        self.error, self.doing = error, None
        self.ended, self.ended_monotonic = time.time() if state in FINAL_STATES else None, time.monotonic()
        self.state = state  # last, so that a reader of a final state also gets the error
        self.changes += 1
        try:
            self.write_record()
        except OSError as failure:
            print(f"the state '{state}' of job {self.id} could not be recorded: {failure}", file=sys.stderr, flush=True)

    def write_record(self) -> None:
        if self.folder.is_dir():  # else the job is being removed
            write_json(self.folder / RECORD, {name: getattr(self, name) for name in RECORDED_FIELDS})


def is_job_folder(folder: Path) -> bool:
    """Whether the store made the folder. The user may name a folder with other contents, which must stay untouched."""
    if not ID_PATTERN.fullmatch(folder.name) or not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    return not names or bool(names & {RECORD, UPLOAD})


def read_job(folder: Path) -> Job | None:
    """Read a job from its record; None if the record is missing or incomplete."""
    try:
        record = json.loads((folder / RECORD).read_text())
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(record, dict) or record.keys() | {"owner"} != set(RECORDED_FIELDS) or record["id"] != folder.name:
        return None
    return Job(**record, folder=folder)


def _refuse_other_contents(folder: Path) -> None:
    """Raise if the folder was not made by this server: jobs are removed from it."""
    other = sorted(path.name for path in folder.iterdir() if path.name != MARKER and not is_job_folder(path))
    if other and not (folder / MARKER).is_file():
        raise UserError(f"the folder of the jobs, {folder}, contains {other[0]}, which is no job; name another one with --jobs")


def _lock_folder(folder: Path) -> int:
    """Mark the folder as one of jobs, and lock it; return the lock's descriptor. Raise if another server uses it."""
    lock = os.open(folder / MARKER, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise UserError(f"another server uses the jobs in {folder}; name another folder with --jobs") from error
    return lock


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder, which other threads may be changing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.path.getsize(os.path.join(parent, name))
    return total


class JobStore:
    """All known jobs, in memory and in a folder; finished jobs are removed when they expire."""

    def __init__(self, folder: Path, keep_minutes: float) -> None:
        self.folder, self.keep_seconds = folder, 60 * keep_minutes
        self.jobs: dict[str, Job] = {}
        self.lock = threading.Lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_other_contents(folder)
        self.folder_lock = _lock_folder(folder)  # until this process ends

    def close(self) -> None:
        """Release the folder for another server."""
        os.close(self.folder_lock)

    def create(self, name: str, batch: str = "", annotated: bool = False, owner: str = "") -> Job:
        job = Job(secrets.token_urlsafe(ID_BYTES), name, Path(), batch, annotated, owner)
        job.folder = self.folder / job.id
        job.folder.mkdir(mode=0o700)
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
        """Load the jobs of an earlier run; return the unfinished ones. A job with a broken record is removed."""
        unfinished = []
        for folder in filter(is_job_folder, sorted(self.folder.iterdir())):
            job = read_job(folder)
            if job is None:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            self.jobs[job.id] = job
            if not job.is_finished:
                job.state = QUEUED
                unfinished.append(job)
        return sorted(unfinished, key=lambda job: job.begun)

    def remove_expired(self) -> None:
        now = time.monotonic()
        for job in self._finished():
            if now - job.ended_monotonic > self.keep_seconds:
                self.remove(job)

    def remove_oldest(self, max_bytes: int) -> None:
        """Remove finished jobs, the oldest first, until all jobs together have at most this size."""
        sizes = {job.id: size_of(job.folder) for job in self.all()}
        for job in sorted(self._finished(), key=lambda job: job.ended_monotonic):
            if sum(sizes.values()) <= max_bytes:
                return
            self.remove(job)
            sizes.pop(job.id, None)

    def _finished(self) -> list[Job]:
        return [job for job in self.all() if job.is_finished]
