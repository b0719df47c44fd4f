"""Run independent items on many machines: `map_unordered` as in workers.py, but in the processes of a Ray cluster.

As many items run as there are workers, and a few more are queued at Ray; the next one is submitted when one is done, so memory
does not depend on the number of items. An item whose process or machine was lost is retried up to twice after all other items:
first together with other lost items, then alone. Retries by Ray itself are off, because they would go unnoticed.

Each machine needs this project installed, and the project folder at the same path, on a disk that all of them share.
"""

import os
import socket
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from types import ModuleType
from typing import TypeVar

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.project import root
from explain_deepfakes.pipeline.workers import MEMORY_HINT, Crash, ItemResult, attempt

Item = TypeVar("Item")
Result = TypeVar("Result")
MAX_QUEUED = 8  # items queued at Ray: a process without a next item is released, which costs a tenth of a second
LOCAL = "local"  # an address: start Ray on this machine, and stop it at the end
OBJECT_STORE_BYTES = 512 << 20  # of a local Ray; it holds the pictures on their way to a face detector
SECONDS_TO_CONNECT = 10.0
SECONDS_TO_STOP = 10.0  # for tasks on other machines, before their unfinished outputs are removed


def map_unordered(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    on_crash: Callable[[Item, str], Result] | None = None,
    address: str = LOCAL,
) -> Generator[Result, None, None]:
    """Yield `work(item)` for each item, with `workers` processes in the whole cluster; a few more if it has free ones.

    `on_crash(item, cause)` returns the result of an item that was lost three times; without it, that raises an error.
    Close the generator to terminate the tasks early.
    """
    with ray_connection(address, workers):
        pending: Iterable[Item] = items
        workers = max(workers, 1)
        submitted = workers + min(workers, MAX_QUEUED)
        for max_submitted in (submitted, submitted, 1):
            lost: list[tuple[Item, str]] = []
            for item, result in _results(work, pending, max_submitted):
                if isinstance(result, Crash):
                    lost.append((item, result.cause))
                else:
                    yield result
            pending = [item for item, _ in lost]
        for item, cause in lost:
            if not on_crash:
                raise UserError(f"a worker process crashed three times on the same item ({cause}); {MEMORY_HINT}")
            yield on_crash(item, cause)


@contextmanager
def ray_connection(address: str, workers: int) -> Iterator[ModuleType]:
    """Yield the module `ray`, connected to the cluster. Nested blocks share the connection of the outermost."""
    ray = _import_ray()
    if ray.is_initialized():
        yield ray
        return
    _check_address(address)
    local_options = {"num_cpus": max(workers, 1), "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    try:
        ray.init(
            address=address,
            log_to_driver=False,  # the logs of the cluster would hide the progress
            logging_level="error",
            **(local_options if address == LOCAL else {}),
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _no_cluster(address, error) from error
    ray._private.worker._worker_logs_enabled = False  # Ray would print a page of advice for each lost process
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raise if nothing listens at the address. Ray itself would wait for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), SECONDS_TO_CONNECT).close()
    except (OSError, ValueError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> UserError:
    reason = str(error).strip().split("\n")[0]
    return UserError(f"there is no Ray cluster at '{address}' ({reason}); `ray start --head` starts one and prints its address")


def _import_ray() -> ModuleType:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage statistics for the makers of Ray
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "ray is not installed; run `pip install 'explain-deepfakes[ray]'`, or in a checkout `pip install '.[ray]'`"
        ) from error
    module: ModuleType = ray
    return module


def _results(
    work: Callable[[Item], Result], items: Iterable[Item], max_submitted: int
) -> Generator[tuple[Item, Result | Crash], None, None]:
    ray = _import_ray()
    task = ray.remote(num_cpus=1, max_retries=0)(_attempt_in_folder)
    work_ref, folder = ray.put(work), str(root())
    remaining, running = iter(items), dict[object, Item]()  # by Ray's object references

    def submit(count: int) -> None:
        for item in islice(remaining, count):
            running[task.remote(work_ref, item, folder)] = item

    try:
        submit(max_submitted)
        while running:
            ready_refs, _ = ray.wait(list(running))
            for ref in ready_refs:
                item = running.pop(ref)
                received: ItemResult[Result] | Crash = _receive(ray, ref)
                result = received if isinstance(received, Crash) else received.get()
                submit(1)
                yield item, result
    finally:
        _cancel(ray, list(running))


def _receive(ray: ModuleType, ref: object) -> ItemResult[Result] | Crash:
    try:
        received: ItemResult[Result] = ray.get(ref)
        return received
    except ray.exceptions.RayTaskError:  # a bug: errors of the work itself arrive in an ItemResult
        raise
    except ray.exceptions.RayError as error:  # the process, its machine or the result was lost
        return Crash(type(error).__name__)


def _cancel(ray: ModuleType, running: list[object]) -> None:
    """Terminate the tasks, and wait for that, so that their unfinished outputs can be removed."""
    if not running or not ray.is_initialized():
        return
    for ref in running:
        with suppress(ray.exceptions.RayError):
            ray.cancel(ref, force=True)
    ray.wait(running, num_returns=len(running), timeout=SECONDS_TO_STOP)


def _attempt_in_folder(work: Callable[[Item], Result], item: Item, folder: str) -> ItemResult[Result]:
    """Run in a process of the cluster: in the project folder, since paths are relative to it."""
    try:
        os.chdir(folder)
    except OSError:
        reason = f"the machine {os.uname().nodename} has no folder {folder}; all machines need the project at the same path"
        return ItemResult(None, UserError(reason))
    return attempt(partial(work, item))
