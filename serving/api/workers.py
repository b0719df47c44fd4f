"""Workers: processes that examine files. Jobs go in; progress and results come out.

If a worker crashes, it is replaced and its job is tried once more; nothing else is affected.
"""

import contextlib
import gc
import multiprocessing
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.serving.api.jobs import CANCELLED, DONE, FAILED, RUNNING, Job
from explain_deepfakes.serving.models.backends import TORCH
from explain_deepfakes.serving.models.identity import ModelIdentity

if TYPE_CHECKING:  # the server process itself imports nothing large
    from explain_deepfakes.serving.examination.examiner import Examiner, ProgressCallback

    ExamineJob = Callable[[Examiner, Path, str, bool, ProgressCallback], None]

MAX_TRIES = 2
POLL_SECONDS = 0.1
SECONDS_TO_STOP = 5.0  # a worker that does not leave a cancelled job by then is killed
SECONDS_UNTIL_RETRY = 5.0  # after the model could not be loaded
# The fork server has imported everything, but started nothing: a crashed worker is replaced without a delay.
FORK_SERVER = multiprocessing.get_context("forkserver")
FORK_SERVER.set_forkserver_preload(["explain_deepfakes.serving.api.job_outputs"])

FileIdentity = tuple[int, int, int]  # inode, size, time of change


class JobCancelled(Exception):
    """The job was cancelled while it was running."""


class WorkerLost(Exception):
    """A worker process ended or has to be killed; the message is the cause, if it is known."""


@dataclass(frozen=True)
class WorkerConfig:
    """What each worker loads and runs."""

    model_path: Path
    device: str
    threads: int
    frames: int | None = None  # of a video; None: as the checkpoint card says
    backend: str = TORCH
    demo: bool = False  # whether a network that was never trained on real faces may give verdicts
    # An ExamineJob by its name, so that the server imports nothing large.
    examine: str = "explain_deepfakes.serving.api.job_outputs.examine_job"


@dataclass(frozen=True)
class JobRequest:
    """Server to worker: examine this file."""

    upload: Path
    name: str
    annotated: bool


@dataclass(frozen=True)
class StopRequest:
    """Server to worker: leave the current job."""


@dataclass(frozen=True)
class Ready:
    """Worker to server: the model is loaded."""

    model: ModelIdentity


@dataclass(frozen=True)
class LoadFailure:
    """Worker to server: the model cannot be loaded; the process ends."""

    reason: str


@dataclass(frozen=True)
class JobProgress:
    """Worker to server: how far the current job is."""

    doing: str
    done: int
    total: int


@dataclass(frozen=True)
class JobOutcome:
    """Worker to server: the job has ended in this state."""

    state: str
    error: str | None = None


@dataclass(frozen=True)
class WorkerFailure:
    """Worker to server: the process can no longer be used; it ends."""

    cause: str


def run_worker(connection: Connection, config: WorkerConfig) -> None:
    """The main function of a worker process."""
    from explain_deepfakes.pipeline.reproducible import seed_everything
    from explain_deepfakes.serving.examination.examiner import Examiner

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        seed_everything(0, config.threads)
        examiner = Examiner.load(config.model_path, config.device, config.frames, config.backend, config.demo)
        examiner.predictor.check_finite()
        examine: ExamineJob = resolve_name(config.examine)
    except UserError as error:
        connection.send(LoadFailure(str(error)))
        return
    except Exception as error:  # noqa: BLE001 - the server reports why nothing can be examined
        traceback.print_exc()
        connection.send(LoadFailure(_describe(error)))
        return
    with contextlib.suppress(EOFError, ConnectionError):  # the server has ended
        connection.send(Ready(examiner.identity()))
        gc.freeze()  # what is loaded now stays, so the collections after each job can skip it
        while True:
            request = connection.recv()
            if isinstance(request, JobRequest):  # a late StopRequest is ignored
                outcome = _run_job(connection, examiner, request, examine)
                connection.send(outcome)
                if isinstance(outcome, WorkerFailure):
                    return
                gc.collect()  # plots contain reference cycles, which Python collects too rarely by itself


def _run_job(
    connection: Connection, examiner: "Examiner", request: JobRequest, examine: "ExamineJob"
) -> JobOutcome | WorkerFailure:
    from explain_deepfakes.preprocessing.video.video import UnreadableVideo

    last_report = 0.0

    def report_progress(doing: str, done: int, total: int) -> None:
        nonlocal last_report
        if connection.poll():
            raise JobCancelled
        if done == total or time.monotonic() - last_report > POLL_SECONDS:
            connection.send(JobProgress(doing, done, total))
            last_report = time.monotonic()

    try:
        examine(examiner, request.upload, request.name, request.annotated, report_progress)
    except JobCancelled:
        connection.recv()
        return JobOutcome(CANCELLED)
    except (UnreadableVideo, UserError) as error:
        return JobOutcome(FAILED, str(error))
    except ConnectionError:  # the server has ended
        raise
    except Exception as error:  # noqa: BLE001 - the next job may succeed
        traceback.print_exc()
        if _is_out_of_memory(error):
            return WorkerFailure(f"it ran out of memory: {_describe(error)}")
        return JobOutcome(FAILED, f"the server failed to examine it: {_describe(error)}")
    return JobOutcome(DONE)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether the process ran out of memory; its state is then unknown, so another process replaces it."""
    import torch

    return isinstance(error, MemoryError | torch.cuda.OutOfMemoryError)


def _describe(error: Exception) -> str:
    """The error's type and message, without paths of the server; the traceback is in the server's log."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")


@dataclass(frozen=True, eq=False)
class Worker:
    process: ForkServerProcess
    connection: Connection
    model_file: FileIdentity  # the checkpoint that it has loaded

    @classmethod
    def start(cls, config: WorkerConfig, model_file: FileIdentity) -> "Worker":
        ours, theirs = FORK_SERVER.Pipe()
        process = FORK_SERVER.Process(target=run_worker, args=(theirs, config), daemon=True)
        process.start()
        theirs.close()
        return cls(process, ours, model_file)

    def kill(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.join()


def file_identity(path: Path) -> FileIdentity:
    """A cheap fingerprint of the file at this path, to notice that another file replaced it."""
    try:
        facts = path.stat()
    except OSError:
        return 0, 0, 0
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


class WorkerPool:
    """A fixed number of worker processes and the queue of jobs for them."""

    def __init__(
        self,
        config: WorkerConfig,
        count: int,
        max_waiting: int,
        deadline: float,
        recovered: Sequence[Job] = (),
    ) -> None:
        self.config, self.deadline = config, deadline
        self.waiting: queue.Queue[Job] = queue.Queue(max_waiting)
        self.waiting.queue.extend(recovered)  # jobs of an earlier run, possibly more than max_waiting
        self.model: ModelIdentity | None = None  # the one that the newest worker has loaded
        self.load_error: str | None = None  # why `rejected_file` cannot be loaded
        self.rejected_file: FileIdentity | None = None
        self.renewal_lock = threading.Lock()
        self.ready: set[Worker] = set()
        self.running: set[str] = set()  # ids of jobs
        self.closing = threading.Event()
        self.finished = {DONE: 0, FAILED: 0, CANCELLED: 0}
        self.crashes = 0
        self.busy_seconds = 0.0
        self.counts_lock = threading.Lock()  # for `finished`, `crashes` and `busy_seconds`
        self.threads = [threading.Thread(target=self._attend, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def submit(self, job: Job) -> bool:
        """Queue a job; return False if the queue is full."""
        try:
            self.waiting.put_nowait(job)
        except queue.Full:
            return False
        return True

    def current_load_error(self) -> str | None:
        """Why the checkpoint at the model path cannot be loaded; None if it can."""
        return self.load_error if self.rejected_file == file_identity(self.config.model_path) else None

    def close(self, seconds: float) -> None:
        """Give running jobs this time to finish; waiting jobs stay on disk for the next start."""
        self.closing.set()
        deadline = time.monotonic() + seconds
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _attend(self) -> None:
        """Run one worker: give it jobs, and replace it if it crashes or the checkpoint changes. One thread for each worker."""
        worker: Worker | None = None
        while not self.closing.is_set():
            try:
                worker = self._renew(worker)
                if worker:
                    self.ready.add(worker)
                    self._serve(worker)
                else:
                    self.closing.wait(SECONDS_UNTIL_RETRY)
            except WorkerLost:
                self._dismiss(worker)
                worker = None
            except Exception:  # noqa: BLE001 - such as a failure to start a process; without this thread no job would run
                traceback.print_exc()
                self._dismiss(worker)
                worker = None
                self.closing.wait(SECONDS_UNTIL_RETRY)
        self._dismiss(worker)

    def _dismiss(self, worker: Worker | None) -> None:
        if worker:
            self.ready.discard(worker)
            worker.kill()

    def _renew(self, worker: Worker | None) -> Worker | None:
        """A worker with the current checkpoint; if that cannot be loaded, the given worker, which stays in use."""
        with self.renewal_lock:  # one worker at a time, while the others work
            model_file = file_identity(self.config.model_path)
            if worker and model_file in (worker.model_file, self.rejected_file):
                return worker
            successor = Worker.start(self.config, model_file)
            while not successor.connection.poll(POLL_SECONDS) and not self.closing.is_set():
                pass
            answer: Ready | LoadFailure = LoadFailure("the server is shutting down")
            try:
                if successor.connection.poll():
                    answer = successor.connection.recv()
            except (EOFError, ConnectionError):
                answer = LoadFailure("the process that loaded it crashed")
            if isinstance(answer, LoadFailure):
                successor.kill()
                self.rejected_file, self.load_error = model_file, answer.reason
                return worker
            self.rejected_file, self.load_error = None, None
            self.model = answer.model
        self._dismiss(worker)
        return successor

    def _serve(self, worker: Worker) -> None:
        """Give jobs to a worker until it crashes, the pool closes or the checkpoint changes."""
        while not self.closing.is_set() and file_identity(self.config.model_path) in (worker.model_file, self.rejected_file):
            try:
                job = self.waiting.get(timeout=POLL_SECONDS)
            except queue.Empty:
                if not worker.process.is_alive():
                    raise WorkerLost from None
                continue
            started = time.monotonic()
            self.running.add(job.id)  # before the check below: a cancelling request sets the flag, then looks here
            try:
                if not job.is_cancelled.is_set():
                    self._run(worker.connection, job, started + self.deadline)
            except (EOFError, ConnectionError, WorkerLost) as error:
                cause = str(error) if isinstance(error, WorkerLost) else ""
                self._handle_crash(job, time.monotonic() > started + self.deadline, cause)
                raise WorkerLost(cause) from error
            except Exception as error:
                self._finish(job, FAILED, f"the server failed: {_describe(error)}")
                raise
            finally:
                with self.counts_lock:
                    self.busy_seconds += time.monotonic() - started
                self.running.discard(job.id)

    def _run(self, connection: Connection, job: Job, deadline: float) -> None:
        """Send a job to a worker and follow it until it ends."""
        job.tries += 1
        job.set_state(RUNNING)
        connection.send(JobRequest(job.upload, job.name, job.annotated))
        kill_time: float | None = None
        while True:
            if connection.poll(POLL_SECONDS):
                message: JobProgress | JobOutcome | WorkerFailure = connection.recv()
                if isinstance(message, WorkerFailure):
                    raise WorkerLost(message.cause)
                if isinstance(message, JobOutcome):
                    self._finish(job, message.state, message.error)
                    return
                job.report_progress(message.doing, message.done, message.total)
            now = time.monotonic()
            if kill_time is None and (job.is_cancelled.is_set() or now > deadline):
                connection.send(StopRequest())
                kill_time = now + SECONDS_TO_STOP
            if kill_time and now > kill_time:
                raise WorkerLost  # it does not react

    def _finish(self, job: Job, state: str, error: str | None) -> None:
        if state == CANCELLED and not job.is_cancelled.is_set():
            state, error = FAILED, f"it took more than {self.deadline:g} seconds, the limit of this server"
        with self.counts_lock:
            self.finished[state] += 1
        job.set_state(state, error)

    def _handle_crash(self, job: Job, is_late: bool, cause: str) -> None:
        """Retry or end the job of a process that crashed or had to be killed."""
        with self.counts_lock:
            self.crashes += 1
        if job.is_cancelled.is_set() or is_late:
            self._finish(job, CANCELLED, None)
        elif job.tries < MAX_TRIES:
            self.waiting.queue.appendleft(job)
        else:
            message = f"the process that examined it crashed {MAX_TRIES} times"
            self._finish(job, FAILED, message + (f"; {cause}" if cause else ""))
