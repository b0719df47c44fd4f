"""Metrics with 95 % confidence intervals, by a bootstrap over groups of identities.

Videos of one person are not independent, so each draw of the bootstrap includes or excludes a whole group of connected people.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from explain_deepfakes.model_test_train.metrics.point_metrics import Scores, compute_metrics
from explain_deepfakes.pipeline.index import Video


class Estimate(TypedDict):
    """A metric with its confidence interval; None where a number cannot be computed."""

    value: float | None
    low: float | None
    high: float | None


QUANTILES = (0.025, 0.975)  # bounds of a 95 % interval; captions and docs say 95 %
MIN_GROUPS = 5  # for an interval
WEIGHTS_PER_BLOCK = 500_000
NO_DRAWS = np.zeros(0)


def estimate_metrics(scores: Scores, groups: NDArray[np.int64], draws: int, seed: int) -> dict[str, int | Estimate]:
    """The number of videos and of fakes, and each metric with its interval; None where it cannot be computed."""
    table: dict[str, int | Estimate] = {"count": len(scores), "fakes": int(scores.labels.sum())}
    if not len(scores):
        return table
    values = compute_metrics(scores)
    drawn = compute_metrics(scores, bootstrap_weights(groups, draws, seed))  # empty if there are too few groups
    return {**table, **{name: make_estimate(values[name][0], drawn.get(name, NO_DRAWS)) for name in values}}


def make_estimate(value: float, drawn: NDArray[np.float64]) -> Estimate:
    """A metric with the interval spanned by its values over the bootstrap's draws."""
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.quantile(drawn, QUANTILES) if len(drawn) else (np.nan, np.nan)
    return {"value": json_number(value), "low": json_number(low), "high": json_number(high)}


def bootstrap_weights(groups: NDArray[np.int64], draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield how often each row is drawn (draws of a block, n) when all groups are resampled with replacement.

    Draws come in blocks, so that memory does not grow with the number of rows. Nothing is yielded for fewer than `MIN_GROUPS`
    groups: their draws would be too similar, and the interval too narrow.
    """
    unique, group_index = np.unique(groups, return_inverse=True)
    if len(unique) < MIN_GROUPS:
        return
    counts = np.random.default_rng(seed).multinomial(len(unique), np.full(len(unique), 1 / len(unique)), size=draws)
    block = max(1, WEIGHTS_PER_BLOCK // len(groups))
    for first in range(0, draws, block):
        yield counts[first : first + block, group_index].astype(float)


def identity_groups(videos: Sequence[Video]) -> dict[str, int]:
    """The group number of each video; videos that share a person, directly or through other videos, are in one group."""
    return dict(zip((video.video for video in videos), connected_groups([video.identities for video in videos]), strict=True))


def connected_groups(people: Sequence[Sequence[str]]) -> list[int]:
    """The group number of each video, from the people in each video."""
    from scipy.cluster.hierarchy import DisjointSet  # slow to import, and a verdict needs none

    groups = DisjointSet(chain.from_iterable(people))
    for identities in people:
        for person in identities:
            groups.merge(identities[0], person)
    numbers = {person: number for number, group in enumerate(sorted(groups.subsets(), key=min)) for person in group}
    return [numbers[identities[0]] for identities in people]


def json_number(number: float) -> float | None:
    """The rounded number, or None for NaN, which JSON does not support."""
    return None if np.isnan(number) else round(float(number), 6)


def format_estimate(estimate: Estimate) -> str:
    value, low, high = ("–" if estimate[key] is None else f"{estimate[key]:.3f}" for key in ("value", "low", "high"))
    return value if estimate["low"] is None else f"{value} ({low} to {high})"
