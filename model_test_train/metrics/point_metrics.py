"""Labels, fake probabilities and what was called fake -> figures, of many weightings of the rows at once.

A row of weights is one draw of a bootstrap: how often it took each of the rows. All figures of all draws come out of the same
few sums along the sorted probabilities, so that a thousand draws cost what ten calls of scikit-learn do.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FALSE_POSITIVE_RATES = {"tpr_at_fpr_0.001": 0.001, "tpr_at_fpr_0.01": 0.01, "tpr_at_fpr_0.05": 0.05}
BINS = 10  # of the calibration error, of equal width
LEAST_PROBABILITY = 1e-15  # in the log loss


@dataclass(frozen=True)
class Scores:
    """What is known of each of the videos, or frames."""

    labels: NDArray[np.int64]  # 1 is fake
    probabilities: Array
    called_fake: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if not np.isin(self.labels, (0, 1)).all():
            raise ValueError("labels must be 0 (real) or 1 (fake)")
        if not ((self.probabilities >= 0) & (self.probabilities <= 1)).all():  # also refuses NaN
            raise ValueError("probabilities must lie from 0 to 1")

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def ranks(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows, the highest first, and where in that order those of one probability end."""
        order = np.argsort(-self.probabilities, kind="stable")
        return order, np.append(np.flatnonzero(np.diff(self.probabilities[order])), len(order) - 1)

    @classmethod
    def above(cls, threshold: float, labels: NDArray[np.int64], probabilities: Array) -> "Scores":
        return cls(labels, probabilities, probabilities > threshold)


def measure(scores: Scores, weights: Iterable[Array] | None = None) -> dict[str, Array]:
    """Each figure for each row of the weights, which come in blocks (draws, n); NaN where it cannot be computed."""
    once = [np.ones((1, len(scores)))]
    blocks = [_measure(scores, block) for block in (once if weights is None else weights)]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]} if blocks else {}


def _measure(scores: Scores, weights: Array) -> dict[str, Array]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return {**_by_verdict(scores, weights), **_by_rank(scores, weights), **_by_probability(scores, weights)}


def _by_verdict(scores: Scores, weights: Array) -> dict[str, Array]:
    fake, called = scores.labels == 1, scores.called_fake
    hits, misses, alarms, spared = (
        weights @ chosen.astype(float) for chosen in (fake & called, fake & ~called, ~fake & called, ~fake & ~called)
    )
    wrong_or_hit = 2 * hits + alarms + misses
    return {
        "accuracy": (hits + spared) / (hits + misses + alarms + spared),
        "balanced_accuracy": (hits / (hits + misses) + spared / (spared + alarms)) / 2,
        "f1": np.where(wrong_or_hit > 0, 2 * hits / wrong_or_hit, 0.0),
        "false_alarm_rate": alarms / (alarms + spared),
        "miss_rate": misses / (misses + hits),
    }


def _by_rank(scores: Scores, weights: Array) -> dict[str, Array]:
    """Of the curve over all thresholds; rows of one probability pass it together."""
    found, accused = curve(scores, weights)
    true_positive, false_positive = found / found[:, -1:], accused / accused[:, -1:]
    steps = np.diff(true_positive)
    precision = np.nan_to_num(found[:, 1:] / (found + accused)[:, 1:])
    figures = {
        "auc": (np.diff(false_positive) * (true_positive[:, 1:] + true_positive[:, :-1]) / 2).sum(1),
        "ap": (steps * precision).sum(1),
        "eer": _equal_error_rate(true_positive, false_positive),
    }
    for name, rate in FALSE_POSITIVE_RATES.items():
        reached = np.where(false_positive <= rate, true_positive, 0.0).max(1)
        figures[name] = np.where(np.isnan(true_positive[:, -1] + false_positive[:, -1]), np.nan, reached)
    return figures


def curve(scores: Scores, weights: Array) -> tuple[Array, Array]:
    """Fakes and originals (draws, thresholds + 1) above each threshold, the highest first; the first column is 0."""
    order, ends = scores.ranks
    fake = scores.labels[order] == 1
    of_fakes, of_originals = (np.cumsum(weights[:, order] * chosen, 1)[:, ends] for chosen in (fake, ~fake))
    nothing = np.zeros((len(weights), 1))
    return np.hstack([nothing, of_fakes]), np.hstack([nothing, of_originals])


def _equal_error_rate(true_positive: Array, false_positive: Array) -> Array:
    """Where the two kinds of error cross, along the straight line between two thresholds."""
    gap = false_positive + true_positive - 1  # false alarms minus misses: from -1 up to 1
    draws, after = np.arange(len(gap)), np.argmax(gap >= 0, 1)
    before = np.maximum(after - 1, 0)
    rise = gap[draws, after] - gap[draws, before]
    share = np.where(rise > 0, -gap[draws, before] / rise, 0.0)
    rate = false_positive[draws, before] + share * (false_positive[draws, after] - false_positive[draws, before])
    return np.where(np.isnan(gap[:, -1]), np.nan, rate)


def _by_probability(scores: Scores, weights: Array) -> dict[str, Array]:
    labels, probabilities, total = scores.labels.astype(float), scores.probabilities, weights.sum(1)
    clipped = np.clip(probabilities, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    gaps = [np.abs(weights[:, bins == place] @ (labels - probabilities)[bins == place]) for place in range(BINS)]
    return {
        "log_loss": weights @ -np.where(labels == 1, np.log(clipped), np.log1p(-clipped)) / total,
        "brier": weights @ np.square(labels - probabilities) / total,
        "calibration_error": np.sum(gaps, 0) / total,
    }


def best_threshold(labels: NDArray[np.int64], probabilities: Array, most_false_alarms: float = 1.0) -> float:
    """The threshold of best balanced accuracy, in the middle of the gap between the probabilities that it parts.

    Of those that call no greater share of the real ones fake than `most_false_alarms`.
    """
    if len(np.unique(labels)) < 2:
        return 0.5
    found, accused = (counts[0] for counts in curve(Scores.above(0.5, labels, probabilities), np.ones((1, len(labels)))))
    gain = found / found[-1] - accused / accused[-1]
    chosen = int(np.argmax(np.where(accused / accused[-1] <= most_false_alarms, gain, -1)))
    levels = np.append(np.unique(probabilities)[::-1], 0.0)  # those above the chosen threshold come first
    if chosen:
        return float((levels[chosen - 1] + levels[chosen]) / 2)
    return 0.5 if most_false_alarms == 1 else float(levels[0])  # which calls nothing fake
