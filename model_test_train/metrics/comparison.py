"""Two judgements of the same videos -> by how much they differ, how sure that is, and whether chance would do as much.

AUC by DeLong's test (1988, with the midranks of Sun and Xu 2014), accuracy by McNemar's exact test, everything else by a
bootstrap of pairs over groups of identities. Several questions at once are corrected by Holm's steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from model_test_train.metrics.intervals import NOTHING, drawn_weights
from model_test_train.metrics.point_metrics import Scores, measure

Array = NDArray[np.float64]
SIGNIFICANT = 0.05
LEAST = 0.005  # of a difference, to be spoken of: with enough videos, chance is told apart from nothing that matters
WITH_TESTS_OF_THEIR_OWN = {"auc": "DeLong", "accuracy": "McNemar"}
BOOTSTRAPPED = "paired bootstrap"


@dataclass(frozen=True)
class Difference:
    """Of one figure: B's minus A's."""

    figure: str
    a: float
    b: float
    low: float  # of the difference's 95 % interval
    high: float
    p: float  # of a difference as large by chance
    test: str
    corrected_p: float = float("nan")

    @property
    def is_significant(self) -> bool:
        return self.corrected_p < SIGNIFICANT and abs(self.b - self.a) >= LEAST


def compare(a: Scores, b: Scores, groups: NDArray[np.int64], draws: int, seed: int) -> list[Difference]:
    """Of each figure, in the order of `measure`; corrected for their number."""
    of_a, of_b = ({name: values[0] for name, values in measure(scores).items()} for scores in (a, b))
    drawn_a, drawn_b = (measure(scores, drawn_weights(groups, draws, seed)) for scores in (a, b))  # the same draws
    found = []
    for name in of_a:
        drawn = drawn_b.get(name, NOTHING) - drawn_a.get(name, NOTHING)
        drawn = drawn[~np.isnan(drawn)]
        low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (np.nan, np.nan)
        test = WITH_TESTS_OF_THEIR_OWN.get(name, BOOTSTRAPPED)
        p = _bootstrap_p(drawn)
        if test == "DeLong":
            low, high, p = delong(a.labels, a.probabilities, b.probabilities)
        elif test == "McNemar":
            p = of_verdicts(a.called_fake == a.labels, b.called_fake == b.labels)
        found.append(Difference(name, float(of_a[name]), float(of_b[name]), float(low), float(high), p, test))
    ps = corrected([difference.p for difference in found])
    return [replace(one, corrected_p=p) for one, p in zip(found, ps, strict=True)]


def delong(labels: NDArray[np.int64], one: Array, other: Array) -> tuple[float, float, float]:
    """The 95 % interval of other's AUC minus one's, and the p of no difference."""
    difference, variance = _delong_difference(labels, one, other)
    if np.isnan(difference):
        return (np.nan,) * 3
    if variance <= 1e-18:
        return difference, difference, 1.0 if abs(difference) < 1e-12 else 0.0
    error = float(np.sqrt(variance))
    reach = float(norm.ppf(0.975)) * error
    return difference - reach, difference + reach, float(2 * norm.sf(abs(difference) / error))


def _delong_difference(labels: NDArray[np.int64], one: Array, other: Array) -> tuple[float, float]:
    fake = labels == 1
    fakes, reals = int(fake.sum()), int((~fake).sum())
    if min(fakes, reals) < 2:
        return float("nan"), float("nan")
    # How far each fake stands above the originals, and each original below the fakes: AUC is the mean of either.
    above = np.array([(rankdata(p)[fake] - rankdata(p[fake])) / reals for p in (one, other)])
    below = np.array([1 - (rankdata(p)[~fake] - rankdata(p[~fake])) / fakes for p in (one, other)])
    of_fakes, of_reals = np.diff(above, axis=0)[0], np.diff(below, axis=0)[0]
    return float(of_fakes.mean()), float(of_fakes.var(ddof=1) / fakes + of_reals.var(ddof=1) / reals)


def of_verdicts(one_right: NDArray[np.bool_], other_right: NDArray[np.bool_]) -> float:
    """Of the videos that only one of them judges right, is it one of them too often?"""
    table = [[np.sum((one_right == one) & (other_right == other)) for other in (True, False)] for one in (True, False)]
    return float(mcnemar(table, exact=True).pvalue)


def _bootstrap_p(drawn: Array) -> float:
    """Two-sided: how often the draws lie on the rarer side of no difference."""
    if not len(drawn):
        return float("nan")
    rarer = min((drawn <= 0).sum(), (drawn >= 0).sum())
    return float(min(1.0, 2 * (rarer + 1) / (len(drawn) + 1)))


def corrected(ps: Sequence[float]) -> list[float]:
    """For their number; what is no number stays so."""
    known = ~np.isnan(ps)
    found = np.full(len(ps), np.nan)
    if known.any():
        found[known] = multipletests(np.array(ps)[known], method="holm")[1]
    return found.tolist()
