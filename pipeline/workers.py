"""Independent work in several processes: results come as they are ready, and each process holds one item at a time.

A process that ends before its work does (the system took its memory back, a library crashed) costs nobody but its own
item: a fresh one takes its place, and the item is tried once more when all others are done and nothing else runs.
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
from typing import Any, Generic, TypeVar

from pipeline.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
# Fresh processes: a forked copy of one that already ran torch or OpenCV threads can hang.
CONTEXT = multiprocessing.get_context("spawn")
MEND = "if memory ran short, lower workers"


@dataclass(frozen=True)
class Death:
    how: str


class WorkerTraceback(Exception):
    """Where in a worker process the error came from that is raised again here."""


def map_unordered(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    prepare: Callable[..., None] | None = None,
    prepare_with: tuple[Any, ...] = (),
    died: Callable[[Item, str], Result] | None = None,
) -> Generator[Result, None, None]:
    """`work(item)` for each item. `prepare(*prepare_with)` runs once in each process, to load what its items share.

    `died(item, how)` is the result of an item that ended two processes; without it that is an error. Close the generator to
    end the processes before all is done.
    """
    start = partial(_Worker, partial(_serve, work, prepare, prepare_with))
    suspects: list[tuple[Item, str]] = []
    for item, result in _results(start, items, workers):
        if isinstance(result, Death):
            suspects.append((item, result.how))
        else:
            yield result
    for suspect, _ in suspects:
        for item, result in _results(start, [suspect], 1):
            if not isinstance(result, Death):
                yield result
            elif died:
                yield died(item, result.how)
            else:
                raise UserError(f"a worker process ended twice over the same work ({result.how}); {MEND}")


@dataclass(frozen=True)
class Answer(Generic[Result]):
    """What a process says of its item: the result, or the error."""

    result: Result
    error: Exception | None = None
    trace: str = ""

    def get(self) -> Result:
        if self.error:
            raise self.error from WorkerTraceback(self.trace)
        return self.result


class _Worker(Generic[Item, Result]):
    """A process, seen from outside."""

    def __init__(self, serve: Callable[[Connection], None], item: Item) -> None:
        self.item, self.is_ready = item, False
        self.pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=serve, args=(theirs,))
        with _ctrl_c_blocked():  # for the process, for ever: whoever started it ends it
            self.process.start()
        theirs.close()

    def give(self, item: Item) -> None:
        self.item, self.is_ready = item, True
        with suppress(BrokenPipeError):  # it died: that is found out when it is asked for its answer
            self.pipe.send(item)

    def answer(self) -> Answer[Result] | Death:
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            return Death(signal.Signals(-code).name if code < 0 else f"exit status {code}")

    def dismiss(self) -> None:
        self.pipe.close()
        self.process.join()

    def kill(self) -> None:
        self.process.kill()
        self.dismiss()


def _results(
    start: Callable[[Item], _Worker[Item, Result]], items: Iterable[Item], workers: int
) -> Generator[tuple[Item, Result | Death], None, None]:
    waiting, crew = iter(items), dict[Any, _Worker[Item, Result]]()

    def hire(count: int) -> None:
        for item in islice(waiting, count):
            worker = start(item)
            crew[worker.pipe] = worker

    try:
        hire(max(workers, 1))
        while crew:
            for pipe in wait(list(crew)):
                worker, answer = crew[pipe], crew[pipe].answer()
                item = worker.item
                if isinstance(answer, Death):
                    del crew[pipe]
                    if not worker.is_ready:
                        raise UserError(f"a worker process could not start ({answer.how}); {MEND}")
                    hire(1)
                    yield item, answer
                elif not worker.is_ready:
                    answer.get()
                    worker.give(item)
                else:
                    result = answer.get()
                    for following in islice(waiting, 1):
                        worker.give(following)
                        break
                    else:
                        crew.pop(pipe).dismiss()
                    yield item, result
    finally:
        for worker in crew.values():
            worker.kill()


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    resource_tracker.ensure_running()  # at the first process' start, it would let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(
    work: Callable[[Any], Any], prepare: Callable[..., None] | None, prepare_with: tuple[Any, ...], pipe: Connection
) -> None:
    """What runs in the process: says that it is ready, then answers each item until the pipe is closed."""
    end_with_parent()
    pipe.send(attempt(prepare, *prepare_with) if prepare else Answer(None))
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        pipe.send(attempt(work, item))


def attempt(function: Callable[..., Any], *arguments: Any) -> Answer:
    try:
        return Answer(function(*arguments))
    except Exception as error:  # noqa: BLE001 - not swallowed: the parent raises it again
        return Answer(None, error, traceback.format_exc())


def end_with_parent() -> None:
    """Called in a process that multiprocessing started: it ends when its parent does, were that killed without a warning."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
