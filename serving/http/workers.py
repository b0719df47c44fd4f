"""Workers: examiners in processes of their own. Jobs go in; progress and results come out.

One that dies takes nothing with it: it is replaced, and its job is tried once more.
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
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from pipeline.errors import UserError
from serving.http.jobs import CANCELLED, DONE, FAILED, RUNNING, Job
from serving.models.backends import TORCH

TRIES = 2
SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_TO_STOP = 5.0  # after which a worker that should leave its job is ended
SECONDS_UNTIL_ANOTHER_TRY = 5.0  # where the network could not be loaded
# Forked off a process that has imported what is needed and begun nothing: a worker that died is replaced in no time.
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["serving.http.results"])


File = tuple[int, int, int]


class Stopped(Exception):
    """The job is wanted no more."""


class WorkerLost(Exception):
    """The process of a worker ended, or has to be ended; the message is the cause, where it is known."""


@dataclass(frozen=True)
class WorkerConfig:
    """What each worker does, and by what."""

    model_path: Path
    device: str
    threads: int
    frames: int | None = None  # of a video; None: as the card says
    backend: str = TORCH
    demo: bool = False  # whether a network that has never seen a real face may give verdicts
    examine: str = "serving.http.results.examine_job"  # a function by its name: the server itself imports nothing large


def work(connection: Connection, orders: WorkerConfig) -> None:
    """The life of a worker's process."""
    from pipeline.reproducible import seed_everything
    from serving.examination.examiner import Examiner

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to hear
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        seed_everything(0, orders.threads)
        examiner = Examiner.load(orders.model_path, orders.device, orders.frames, orders.backend, orders.demo)
        examiner.judge.prove()
        examine = resolve_name(orders.examine)
    except UserError as error:
        connection.send({"unable": str(error)})
        return
    except Exception as error:  # noqa: BLE001 - the server says why nothing can be examined
        traceback.print_exc()
        connection.send({"unable": _in_words(error)})
        return
    with contextlib.suppress(EOFError, ConnectionError):  # nobody wants more
        connection.send({"ready": examiner.identity()})
        gc.freeze()  # what stays need not be looked through after each job
        while True:
            asked = connection.recv()
            if "upload" in asked:
                outcome = _outcome(connection, examiner, asked, examine)
                connection.send(outcome)
                if "lost" in outcome:
                    return
                gc.collect()  # figures refer to themselves in circles, which Python else looks for too seldom


def _outcome(connection: Connection, examiner: Any, asked: dict[str, Any], examine: Callable[..., None]) -> dict[str, Any]:
    from preprocessing.video.video import UnreadableVideo

    said = 0.0

    def say(doing: str, done: int, total: int) -> None:
        nonlocal said
        if connection.poll():
            raise Stopped
        if done == total or time.monotonic() - said > SECONDS_BETWEEN_LOOKS:
            connection.send({"doing": doing, "done": done, "total": total})
            said = time.monotonic()

    try:
        examine(examiner, Path(asked["upload"]), asked["name"], asked["annotated"], say)
    except Stopped:
        connection.recv()
        return {"over": CANCELLED}
    except (UnreadableVideo, UserError) as error:
        return {"over": FAILED, "error": str(error)}
    except ConnectionError:  # the server has ended
        raise
    except Exception as error:  # noqa: BLE001 - one job's failure: the next may go well
        traceback.print_exc()
        if _has_no_memory(error):
            return {"lost": f"it ran out of memory: {_in_words(error)}"}
        return {"over": FAILED, "error": f"the server failed to examine it: {_in_words(error)}"}
    return {"over": DONE}


def _has_no_memory(error: Exception) -> bool:
    """Then what the process still holds is in doubt, and another process takes its place."""
    import torch

    return isinstance(error, MemoryError | torch.cuda.OutOfMemoryError)


def _in_words(error: Exception) -> str:
    """Its type and message, without the server's paths; the traceback is in the server's log."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")


@dataclass(frozen=True, eq=False)
class Worker:
    process: Any
    connection: Connection
    file: File  # that it judges by

    @classmethod
    def started(cls, orders: WorkerConfig, file: File) -> "Worker":
        ours, theirs = FORKED.Pipe()
        process = FORKED.Process(target=work, args=(theirs, orders), daemon=True)
        process.start()
        theirs.close()
        return cls(process, ours, file)

    def end(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.join()


def file_at(path: Path) -> File:
    """Which file lies there, as far as can be told without reading it."""
    try:
        facts = path.stat()
    except OSError:
        return 0, 0, 0
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


class Workers:
    """So many processes, and the jobs that wait for them."""

    def __init__(
        self,
        orders: WorkerConfig,
        count: int,
        most_waiting: int,
        deadline: float,
        waiting: Sequence[Job] = (),
    ) -> None:
        self.orders, self.deadline = orders, deadline
        self.waiting: queue.Queue[Job] = queue.Queue(most_waiting)
        self.waiting.queue.extend(waiting)  # of an earlier run: more than may wait, perhaps
        self.judge: dict[str, Any] = {}  # what the newest worker judges by
        self.unable: str | None = None  # why what lies there now cannot be loaded
        self.refused_file: File | None = None  # that
        self.renewing = threading.Lock()
        self.able: set[Worker] = set()
        self.running: set[str] = set()
        self.closing = threading.Event()
        self.finished = {DONE: 0, FAILED: 0, CANCELLED: 0}
        self.lost = 0  # processes that died
        self.seconds = 0.0  # spent on jobs
        self.lock = threading.Lock()  # of these counts
        self.threads = [threading.Thread(target=self._attend, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def submit(self, job: Job) -> bool:
        """Whether there was a place for it."""
        try:
            self.waiting.put_nowait(job)
        except queue.Full:
            return False
        return True

    def refuses(self) -> str | None:
        """Why, if what lies there now cannot be loaded."""
        return self.unable if self.refused_file == file_at(self.orders.model_path) else None

    def close(self, seconds: float) -> None:
        """What runs may end, within that time; what waits stays on disk for the next start."""
        self.closing.set()
        ends = time.monotonic() + seconds
        for thread in self.threads:
            thread.join(max(0.0, ends - time.monotonic()))

    def _attend(self) -> None:
        """A thread for each process: starts it, gives it jobs, and starts another where it died or another file lies there."""
        worker: Worker | None = None
        while not self.closing.is_set():
            try:
                worker = self._renewed(worker)
                if worker:
                    self.able.add(worker)
                    self._serve(worker)
                else:
                    self.closing.wait(SECONDS_UNTIL_ANOTHER_TRY)
            except WorkerLost:
                self._dismiss(worker)
                worker = None
            except Exception:  # noqa: BLE001 - no process could be started, perhaps; without this thread no job would be done
                traceback.print_exc()
                self._dismiss(worker)
                worker = None
                self.closing.wait(SECONDS_UNTIL_ANOTHER_TRY)
        self._dismiss(worker)

    def _dismiss(self, worker: "Worker | None") -> None:
        if worker:
            self.able.discard(worker)
            worker.end()

    def _renewed(self, worker: "Worker | None") -> "Worker | None":
        """One that judges by what lies there now. What cannot be loaded is refused, and the one before goes on."""
        with self.renewing:  # one after another, while the others work
            wanted = file_at(self.orders.model_path)
            if worker and wanted in (worker.file, self.refused_file):
                return worker
            other = Worker.started(self.orders, wanted)
            while not other.connection.poll(SECONDS_BETWEEN_LOOKS) and not self.closing.is_set():
                pass
            told: dict[str, Any]
            try:
                told = other.connection.recv() if other.connection.poll() else {"unable": "the server is to end"}
            except (EOFError, ConnectionError):
                told = {"unable": "the process that loaded it died"}
            if "unable" in told:
                other.end()
                self.refused_file, self.unable = wanted, told["unable"]
                return worker
            self.refused_file, self.unable = None, None
            self.judge = told["ready"]
        self._dismiss(worker)
        return other

    def _serve(self, worker: "Worker") -> None:
        """Jobs for one process, until it dies, or is to end, or another network lies there."""
        while not self.closing.is_set() and file_at(self.orders.model_path) in (worker.file, self.refused_file):
            try:
                job = self.waiting.get(timeout=SECONDS_BETWEEN_LOOKS)
            except queue.Empty:
                continue
            begun = time.monotonic()
            self.running.add(job.id)  # before the question: who gives a job up asks in the other order
            try:
                if not job.is_cancelled.is_set():
                    self._do(worker.connection, job, begun + self.deadline)
            except (EOFError, ConnectionError, WorkerLost) as error:
                cause = str(error) if isinstance(error, WorkerLost) else ""
                self._lost(job, time.monotonic() > begun + self.deadline, cause)
                raise WorkerLost(cause) from error
            except Exception as error:
                self._end(job, FAILED, f"the server failed: {_in_words(error)}")
                raise
            finally:
                with self.lock:
                    self.seconds += time.monotonic() - begun
                self.running.discard(job.id)

    def _do(self, worker: Connection, job: Job, ends: float) -> None:
        job.tries += 1
        job.become(RUNNING)
        worker.send({"upload": str(job.upload), "name": job.name, "annotated": job.annotated})
        stops: float | None = None
        while True:
            if worker.poll(SECONDS_BETWEEN_LOOKS):
                told = worker.recv()
                if "lost" in told:
                    raise WorkerLost(told["lost"])
                if "over" in told:
                    self._end(job, told["over"], told.get("error"))
                    return
                job.say(**told)
            now = time.monotonic()
            if stops is None and (job.is_cancelled.is_set() or now > ends):
                worker.send({"stop": True})
                stops = now + SECONDS_TO_STOP
            if stops and now > stops:
                raise WorkerLost  # it does not listen

    def _end(self, job: Job, state: str, error: str | None) -> None:
        if state == CANCELLED and not job.is_cancelled.is_set():
            state, error = FAILED, f"it took more than {self.deadline:g} seconds, which is the most that is allowed here"
        with self.lock:
            self.finished[state] += 1
        job.become(state, error)

    def _lost(self, job: Job, too_late: bool, cause: str) -> None:
        """Its process died, or had to be ended."""
        with self.lock:
            self.lost += 1
        if job.is_cancelled.is_set() or too_late:
            self._end(job, CANCELLED, None)
        elif job.tries < TRIES:
            self.waiting.queue.appendleft(job)
        else:
            self._end(job, FAILED, f"the process that examined it died, {TRIES} times" + (f"; {cause}" if cause else ""))
