"""Independent work on many machines, by Ray: `map_unordered` of workers.py, where the processes are those of a Ray cluster.

So many items as there are workers are under way, and a few more wait at Ray; the next is taken when one is done, so that memory
does not depend on how many there are. An item whose process or machine is lost is tried twice more when the others are done: a
second time beside others of its kind, the last time alone. Nothing is retried by Ray itself, which could do it unseen.

Every machine has this project installed, and its folder at the same place, on a disk that all of them share.
"""

import os
import socket
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, TypeVar

from pipeline.errors import UserError
from pipeline.project import root
from pipeline.workers import MEND, Answer, Death, attempt

Item = TypeVar("Item")
Result = TypeVar("Result")
MOST_AHEAD = 8  # items that wait at Ray: a process that finds none goes back to its machine, which costs a tenth of a second
LOCAL = "local"  # an address: a Ray of our own on this machine, which ends with us
OBJECT_STORE_BYTES = 512 << 20  # of a Ray of our own; what goes through it are pictures on their way to a detector
SECONDS_TO_CONNECT = 10.0
SECONDS_TO_STOP = 10.0  # for work on other machines, before what it left unfinished is swept


def map_unordered(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    died: Callable[[Item, str], Result] | None = None,
    address: str = LOCAL,
) -> Generator[Result, None, None]:
    """`work(item)` for each item, `workers` side by side over the whole cluster; some more, if it has processes free.

    `died(item, how)` is the result of an item that was lost three times; without it that is an error. Close the generator to
    stop what is under way.
    """
    with connected(address, workers):
        todo: Iterable[Item] = items
        workers = max(workers, 1)
        together = workers + min(workers, MOST_AHEAD)
        for at_once in (together, together, 1):
            lost: list[tuple[Item, str]] = []
            for item, result in _results(work, todo, at_once):
                if isinstance(result, Death):
                    lost.append((item, result.how))
                else:
                    yield result
            todo = [item for item, _ in lost]
        for item, how in lost:
            if not died:
                raise UserError(f"a worker ended three times over the same work ({how}); {MEND}")
            yield died(item, how)


@contextmanager
def connected(address: str, workers: int) -> Iterator[Any]:
    """Yields the module `ray`, connected to the cluster. Within another such block, it's that one's connection."""
    ray = _ray()
    if ray.is_initialized():
        yield ray
        return
    _refuse_where_nobody_listens(address)
    own = {"num_cpus": max(workers, 1), "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    try:
        ray.init(
            address=address,
            log_to_driver=False,  # a cluster's own talk would drown the progress
            logging_level="error",
            **(own if address == LOCAL else {}),
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _no_cluster(address, error) from error
    ray._private.worker._worker_logs_enabled = False  # nor do we print a page of advice for each process that is lost
    try:
        yield ray
    finally:
        ray.shutdown()


def _refuse_where_nobody_listens(address: str) -> None:
    """Ray itself would wait for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), SECONDS_TO_CONNECT).close()
    except (OSError, ValueError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> UserError:
    said = str(error).strip().split("\n")[0]
    return UserError(f"there is no Ray cluster at '{address}' ({said}); `ray start --head` starts one and names its address")


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers what runs here
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "ray is not installed; `pip install 'explain-deepfakes[ray]'` adds it, in a checkout '.[ray]'"
        ) from error
    return ray


def _results(
    work: Callable[[Item], Result], items: Iterable[Item], at_once: int
) -> Generator[tuple[Item, Result | Death], None, None]:
    ray = _ray()
    task = ray.remote(num_cpus=1, max_retries=0)(_attempt_at_home)
    shared, home = ray.put(work), str(root())
    waiting, running = iter(items), dict[Any, Item]()

    def submit(count: int) -> None:
        for item in islice(waiting, count):
            running[task.remote(shared, item, home)] = item

    try:
        submit(at_once)
        while running:
            done, _ = ray.wait(list(running))
            for ready in done:
                item = running.pop(ready)
                answer = _answer(ray, ready)
                result = answer if isinstance(answer, Death) else answer.get()
                submit(1)
                yield item, result
    finally:
        _stop(ray, list(running))


def _answer(ray: Any, ready: Any) -> Answer | Death:
    try:
        return ray.get(ready)
    except ray.exceptions.RayTaskError:  # not the work's own error, which comes as an answer
        raise
    except ray.exceptions.RayError as error:  # the process, its machine, or the answer with it
        return Death(type(error).__name__)


def _stop(ray: Any, running: list[Any]) -> None:
    """Its processes are ended before anybody sweeps what they left."""
    if not running or not ray.is_initialized():
        return
    for task in running:
        with suppress(ray.exceptions.RayError):
            ray.cancel(task, force=True)
    ray.wait(running, num_returns=len(running), timeout=SECONDS_TO_STOP)


def _attempt_at_home(work: Callable[[Any], Any], item: Any, home: str) -> Answer:
    """Runs in a process of the cluster: in the project's folder, as paths are relative to it."""
    try:
        os.chdir(home)
    except OSError:
        reason = f"the machine {os.uname().nodename} has no folder {home}; all of a cluster need the project at the same place"
        return Answer(None, UserError(reason))
    return attempt(work, item)
