"""Jobs: an uploaded file, its state and its results. Each job has a folder, so that jobs survive a restart of the server."""

import json
import re
import secrets
import shutil
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from explain_deepfakes.pipeline.outputs import write_json
from explain_deepfakes.serving.examination.records import FileRecord

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
FINAL_STATES = {DONE, FAILED, CANCELLED}
RECORD, UPLOAD, REPORT = "job.json", "upload", "report.html"
RESULT, PLAYABLE, ANNOTATED, HEAT = "result.json", "played.mp4", "annotated.mp4", "heat"
RECORDED_FIELDS = ("id", "name", "batch", "annotated", "state", "error", "tries", "begun", "ended")
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
        self.ended = time.time() if state in FINAL_STATES else None
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
    if not isinstance(record, dict) or record.keys() != set(RECORDED_FIELDS):
        return None
    return Job(**record, folder=folder)


class JobStore:
    """All known jobs, in memory and in a folder; finished jobs are removed when they expire."""

    def __init__(self, folder: Path, keep_minutes: float) -> None:
        self.folder, self.keep_seconds = folder, 60 * keep_minutes
        self.jobs: dict[str, Job] = {}
        self.lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def create(self, name: str, batch: str = "", annotated: bool = False) -> Job:
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
        now = time.time()
        with self.lock:
            expired = [job for job in self.jobs.values() if job.ended and now - job.ended > self.keep_seconds]
        for job in expired:
            self.remove(job)
