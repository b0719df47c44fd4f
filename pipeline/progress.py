"""Progress of long work: a bar with rate and remaining time in a terminal, a plain line every few seconds in a log."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
SECONDS_BETWEEN_LINES = 15.0


def track(
    items: Iterable[Item], total: int, label: str, unit: str, size: Callable[[Item], int] = lambda _: 1
) -> Iterator[Item]:
    """Yield the items and report progress; `size` is what an item counts towards the total."""
    if sys.stderr.isatty():
        with tqdm(total=total, desc=label, unit=f" {unit}", dynamic_ncols=True) as bar:
            for item in items:
                yield item
                bar.update(size(item))
        return
    start = last_line = time.monotonic()
    count = 0
    for item in items:
        yield item
        count += size(item)
        now = time.monotonic()
        if count >= total or now - last_line > SECONDS_BETWEEN_LINES:
            rate = count / max(now - start, 1e-9)
            duration = f"{(total - count) / rate:.0f} s left" if count < total else f"{now - start:.0f} s"
            print(f"{label}: {count} of {total} {unit}, {rate:.1f} per second, {duration}", file=sys.stderr, flush=True)
            last_line = now
