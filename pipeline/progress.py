"""Long work shows itself: a bar with rate and time left in a terminal, a plain line now and then in a log."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
SECONDS_BETWEEN_LINES = 15.0


def track(items: Iterable[Item], total: int, what: str, unit: str, size: Callable[[Item], int] = lambda _: 1) -> Iterator[Item]:
    """Yields the items, telling how far along they are; `size` is what one of them counts towards the total."""
    if sys.stderr.isatty():
        with tqdm(total=total, desc=what, unit=f" {unit}", dynamic_ncols=True) as bar:
            for item in items:
                yield item
                bar.update(size(item))
        return
    begun = said = time.monotonic()
    count = 0
    for item in items:
        yield item
        count += size(item)
        now = time.monotonic()
        if count >= total or now - said > SECONDS_BETWEEN_LINES:
            rate = count / max(now - begun, 1e-9)
            left = f"{(total - count) / rate:.0f} s left" if count < total else f"{now - begun:.0f} s"
            print(f"{what}: {count} of {total} {unit}, {rate:.1f} a second, {left}", file=sys.stderr, flush=True)
            said = now
