"""Figures with their 95 % intervals, drawn over groups of identities.

Videos of one person are no independent witnesses: a draw takes or leaves a whole group of connected people.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from model_test_train.metrics.point_metrics import Scores, measure
from pipeline.index import Video

Figure = dict[str, float | None]  # value, low, high
LEVEL = 0.95
LEAST_GROUPS = 5  # for an interval
WEIGHTS_AT_ONCE = 500_000
NOTHING = np.zeros(0)


def figures(scores: Scores, groups: NDArray[np.int64], draws: int, seed: int) -> dict[str, int | Figure]:
    """How many there are, and each figure with its interval; None where it cannot be computed."""
    table: dict[str, int | Figure] = {"count": len(scores), "fakes": int(scores.labels.sum())}
    if not len(scores):
        return table
    values, drawn = measure(scores), measure(scores, drawn_weights(groups, draws, seed))  # none, of too few groups
    return {**table, **{name: with_interval(values[name][0], drawn.get(name, NOTHING)) for name in values}}


def with_interval(value: float, drawn: NDArray[np.float64]) -> Figure:
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(drawn) else (np.nan, np.nan)
    return {"value": plain(value), "low": plain(low), "high": plain(high)}


def drawn_weights(groups: NDArray[np.int64], draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each row is taken (some draws, n) when as many groups as there are are drawn, with replacement.

    A few draws at a time, so that memory does not grow with the rows. Nothing is drawn of too few groups: they would always be
    much alike, and look sure.
    """
    unique, place = np.unique(groups, return_inverse=True)
    if len(unique) < LEAST_GROUPS:
        return
    counts = np.random.default_rng(seed).multinomial(len(unique), np.full(len(unique), 1 / len(unique)), size=draws)
    at_once = max(1, WEIGHTS_AT_ONCE // len(groups))
    for first in range(0, draws, at_once):
        yield counts[first : first + at_once, place].astype(float)


def identity_groups(videos: Sequence[Video]) -> dict[str, int]:
    """video -> the number of its group: videos that share a person, directly or through others."""
    return dict(zip((video.video for video in videos), connected([video.identities for video in videos]), strict=True))


def connected(people: Sequence[Sequence[str]]) -> list[int]:
    """Who is in each video -> the number of each video's group."""
    leader: dict[str, str] = {}

    def find(person: str) -> str:
        while leader.setdefault(person, person) != person:
            person = leader[person]
        return person

    for together in people:
        for person in together:
            leader[find(person)] = find(together[0])
    numbers = {root: number for number, root in enumerate(sorted({find(together[0]) for together in people}))}
    return [numbers[find(together[0])] for together in people]


def plain(number: float) -> float | None:
    """For JSON, which knows no NaN."""
    return None if np.isnan(number) else round(float(number), 6)
