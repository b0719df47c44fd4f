"""Compute metrics from labels, fake probabilities and verdicts, for many weightings of the rows at once.

A row of weights is one draw of a bootstrap: how often it includes each video or frame. All metrics of all draws are computed
from a few sums along the sorted probabilities, so a thousand draws cost as much as ten calls of scikit-learn.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FALSE_POSITIVE_RATES = {"tpr_at_fpr_0.001": 0.001, "tpr_at_fpr_0.01": 0.01, "tpr_at_fpr_0.05": 0.05}
BINS = 10  # of equal width, for the calibration error
MIN_PROBABILITY = 1e-15  # for the log loss


@dataclass(frozen=True)
class Scores:
    """Label, fake probability and verdict of each video or frame."""

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
        """The rows by descending probability, and the last position of each distinct probability in that order."""
        order = np.argsort(-self.probabilities, kind="stable")
        return order, np.append(np.flatnonzero(np.diff(self.probabilities[order])), len(order) - 1)

    @classmethod
    def above(cls, threshold: float, labels: NDArray[np.int64], probabilities: Array) -> "Scores":
        return cls(labels, probabilities, probabilities > threshold)


def compute_metrics(scores: Scores, weights: Iterable[Array] | None = None) -> dict[str, Array]:
    """Each metric for each row of the weights, which come in blocks (draws, n); NaN where it cannot be computed.

    Without weights, each video or frame counts once.
    """
    unweighted = [np.ones((1, len(scores)))]
    blocks = [_compute_block(scores, block) for block in (unweighted if weights is None else weights)]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]} if blocks else {}


def _compute_block(scores: Scores, weights: Array) -> dict[str, Array]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            **_verdict_metrics(scores, weights),
            **_ranking_metrics(scores, weights),
            **_probability_metrics(scores, weights),
        }


def _verdict_metrics(scores: Scores, weights: Array) -> dict[str, Array]:
    fake, called = scores.labels == 1, scores.called_fake
    tp, fn, fp, tn = (
        weights @ chosen.astype(float) for chosen in (fake & called, fake & ~called, ~fake & called, ~fake & ~called)
    )
    f1_denominator = 2 * tp + fp + fn
    return {
        "accuracy": (tp + tn) / (tp + fn + fp + tn),
        "balanced_accuracy": (tp / (tp + fn) + tn / (tn + fp)) / 2,
        "f1": np.where(f1_denominator > 0, 2 * tp / f1_denominator, 0.0),
        "false_alarm_rate": fp / (fp + tn),
        "miss_rate": fn / (fn + tp),
    }


def _ranking_metrics(scores: Scores, weights: Array) -> dict[str, Array]:
    """Metrics of the ROC curve; rows of equal probability share one threshold."""
    fakes, reals = counts_above_thresholds(scores, weights)
    true_positive, false_positive = fakes / fakes[:, -1:], reals / reals[:, -1:]
    steps = np.diff(true_positive)
    precision = np.nan_to_num(fakes[:, 1:] / (fakes + reals)[:, 1:])
    metrics = {
        "auc": (np.diff(false_positive) * (true_positive[:, 1:] + true_positive[:, :-1]) / 2).sum(1),
        "ap": (steps * precision).sum(1),
        "eer": _equal_error_rate(true_positive, false_positive),
    }
    for name, rate in FALSE_POSITIVE_RATES.items():
        reached = np.where(false_positive <= rate, true_positive, 0.0).max(1)
        metrics[name] = np.where(np.isnan(true_positive[:, -1] + false_positive[:, -1]), np.nan, reached)
    return metrics


def counts_above_thresholds(scores: Scores, weights: Array) -> tuple[Array, Array]:
    """Number of fakes and of real rows above each threshold (draws, thresholds + 1), highest threshold first; column 0 is 0."""
    order, ends = scores.ranks
    fake = scores.labels[order] == 1
    fakes, reals = (np.cumsum(weights[:, order] * chosen, 1)[:, ends] for chosen in (fake, ~fake))
    zero = np.zeros((len(weights), 1))
    return np.hstack([zero, fakes]), np.hstack([zero, reals])


def _equal_error_rate(true_positive: Array, false_positive: Array) -> Array:
    """Error rate at which false alarms and misses are equal, interpolated linearly between two thresholds."""
    gap = false_positive + true_positive - 1  # false-alarm rate minus miss rate, from -1 up to 1
    draws, after = np.arange(len(gap)), np.argmax(gap >= 0, 1)
    before = np.maximum(after - 1, 0)
    rise = gap[draws, after] - gap[draws, before]
    share = np.where(rise > 0, -gap[draws, before] / rise, 0.0)
    rate = false_positive[draws, before] + share * (false_positive[draws, after] - false_positive[draws, before])
    return np.where(np.isnan(gap[:, -1]), np.nan, rate)


def _probability_metrics(scores: Scores, weights: Array) -> dict[str, Array]:
    labels, probabilities, total = scores.labels.astype(float), scores.probabilities, weights.sum(1)
    clipped = np.clip(probabilities, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    gaps = [np.abs(weights[:, bins == index] @ (labels - probabilities)[bins == index]) for index in range(BINS)]
    return {
        "log_loss": weights @ -np.where(labels == 1, np.log(clipped), np.log1p(-clipped)) / total,
        "brier": weights @ np.square(labels - probabilities) / total,
        "calibration_error": np.sum(gaps, 0) / total,
    }


def best_threshold(labels: NDArray[np.int64], probabilities: Array, most_false_alarms: float = 1.0) -> float:
    """The threshold of best balanced accuracy whose false-alarm rate is at most `most_false_alarms`.

    It lies halfway between the two probabilities that it separates.
    """
    if len(np.unique(labels)) < 2:
        return 0.5
    scores = Scores.above(0.5, labels, probabilities)
    fakes, reals = (counts[0] for counts in counts_above_thresholds(scores, np.ones((1, len(labels)))))
    true_positive, false_positive = fakes / fakes[-1], reals / reals[-1]
    chosen = int(np.argmax(np.where(false_positive <= most_false_alarms, true_positive - false_positive, -1)))
    levels = np.append(np.unique(probabilities)[::-1], 0.0)  # those above the chosen threshold come first
    if chosen:
        return float((levels[chosen - 1] + levels[chosen]) / 2)
    return 0.5 if most_false_alarms == 1 else float(levels[0])  # nothing is called fake
