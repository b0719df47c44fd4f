"""Run independent items in several processes. Results arrive in the order of completion; a process holds one item at a time.

If a process crashes (killed because memory ran out, a crash in a library), only its own item is affected: a new process takes
its place, and the item is retried once, alone, after all other items.
"""

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Generic, TypeVar, cast

from explain_deepfakes.pipeline.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
# Spawned processes: a fork of a process that already runs torch or OpenCV threads can hang.
CONTEXT = multiprocessing.get_context("spawn")
MEMORY_HINT = "if memory ran short, lower workers"


@dataclass(frozen=True)
class Crash:
    cause: str


class WorkerTraceback(Exception):
    """The traceback in the worker process, as the cause of an error that is raised again in this process."""


def map_unordered(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    initializer: Callable[[], None] | None = None,
    on_crash: Callable[[Item, str], Result] | None = None,
) -> Generator[Result, None, None]:
    """Yield `work(item)` for each item. `initializer` runs once in each process.

    `on_crash(item, cause)` returns the result of an item that crashed two processes; without it, that raises an error.
    Close the generator to terminate the processes early.
    """
    start = partial(_Worker, partial(_serve, work, initializer))
    crashed: list[Item] = []
    for item, result in _results(start, items, workers):
        if isinstance(result, Crash):
            crashed.append(item)
        else:
            yield result
    for suspect in crashed:
        for item, result in _results(start, [suspect], 1):
            if not isinstance(result, Crash):
                yield result
            elif on_crash:
                yield on_crash(item, result.cause)
            else:
                raise UserError(f"a worker process crashed twice on the same item ({result.cause}); {MEMORY_HINT}")


@dataclass(frozen=True)
class ItemResult(Generic[Result]):
    """What a worker process sends back: a result, or an error with its traceback."""

    result: Result | None
    error: Exception | None = None
    trace: str = ""

    def get(self) -> Result:
        if self.error:
            raise self.error from WorkerTraceback(self.trace)
        return cast(Result, self.result)


class _Worker(Generic[Item, Result]):
    """A worker process, as its parent sees it. It gets its first item when its initializer has run."""

    def __init__(self, serve: Callable[[Connection], None], item: Item) -> None:
        self.item, self.is_ready = item, False
        self.pipe, worker_pipe = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=serve, args=(worker_pipe,))
        with _ctrl_c_blocked():  # inherited by the process: its parent terminates it
            self.process.start()
        worker_pipe.close()

    def send(self, item: Item) -> None:
        self.item, self.is_ready = item, True
        with suppress(BrokenPipeError):  # it crashed, which `receive` reports
            self.pipe.send(item)

    def receive(self) -> ItemResult[Result] | Crash:
        try:
            received: ItemResult[Result] = self.pipe.recv()
            return received
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            return Crash(signal.Signals(-code).name if code < 0 else f"exit status {code}")

    def close(self) -> None:
        self.pipe.close()
        self.process.join()

    def kill(self) -> None:
        self.process.kill()
        self.close()


def _results(
    start: Callable[[Item], _Worker[Item, Result]], items: Iterable[Item], workers: int
) -> Generator[tuple[Item, Result | Crash], None, None]:
    remaining, pool = iter(items), dict[Connection, _Worker[Item, Result]]()

    def start_workers(count: int) -> None:
        for item in islice(remaining, count):
            worker = start(item)
            pool[worker.pipe] = worker

    try:
        start_workers(max(workers, 1))
        while pool:
            for pipe in cast(list[Connection], wait(list(pool))):
                worker = pool[pipe]
                item, received = worker.item, worker.receive()
                if isinstance(received, Crash):
                    del pool[pipe]
                    if not worker.is_ready:
                        raise UserError(f"a worker process could not start ({received.cause}); {MEMORY_HINT}")
                    start_workers(1)
                    yield item, received
                elif not worker.is_ready:
                    received.get()  # raises the error of the initializer, if any
                    worker.send(item)
                else:
                    result = received.get()
                    for next_item in islice(remaining, 1):
                        worker.send(next_item)
                        break
                    else:
                        pool.pop(pipe).close()
                    yield item, result
    finally:
        for worker in pool.values():
            worker.kill()


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    resource_tracker.ensure_running()  # otherwise the start of the first process would unblock SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(work: Callable[[Item], Result], initializer: Callable[[], None] | None, pipe: Connection) -> None:
    """Main function of a worker process: report that it is ready, then process items until the pipe is closed."""
    exit_with_parent()
    pipe.send(attempt(initializer) if initializer else ItemResult(None))
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        pipe.send(attempt(partial(work, item)))


def attempt(function: Callable[[], Result]) -> ItemResult[Result]:
    try:
        return ItemResult(function())
    except Exception as error:  # noqa: BLE001 - not swallowed: the parent raises it again
        return ItemResult(None, error, traceback.format_exc())


def exit_with_parent() -> None:
    """Make this process, which multiprocessing started, exit when its parent does, even if the parent was killed."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
