"""Independent work in several processes: results come as they are ready, and only a few items wait at a time."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_unordered(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    prepare: Callable[..., None] | None = None,
    prepare_with: tuple[Any, ...] = (),
) -> Iterator[Result]:
    """`work(item)` for each item. `prepare(*prepare_with)` runs once in each process, to load what its items share."""
    waiting = iter(items)
    if workers <= 1:
        if prepare:
            prepare(*prepare_with)
        yield from map(work, waiting)
        return
    # Fresh processes: a forked copy of one that already ran torch or OpenCV threads can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _begin, (prepare, prepare_with)) as pool:
        running: set[Future] = {pool.submit(work, item) for item in islice(waiting, 2 * workers)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(work, item) for item in islice(waiting, len(done))}
            for future in done:
                yield future.result()


def _begin(prepare: Callable[..., None] | None, prepare_with: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if prepare:
        prepare(*prepare_with)


def _end_with_parent() -> None:
    """A process whose parent was killed would wait for work for ever."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
