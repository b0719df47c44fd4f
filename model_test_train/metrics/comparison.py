"""Compare two detectors on the same videos: by how much their metrics differ, with intervals and significance tests.

AUC is tested by DeLong (1988, with the midranks of Sun and Xu 2014), accuracy by McNemar's exact test, all other metrics by a
paired bootstrap over groups of identities. P values are corrected for multiple tests by Holm's method.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from explain_deepfakes.model_test_train.metrics.intervals import NO_DRAWS, QUANTILES, bootstrap_weights
from explain_deepfakes.model_test_train.metrics.point_metrics import Scores, compute_metrics

Array = NDArray[np.float64]
SIGNIFICANCE_LEVEL = 0.05
MIN_DIFFERENCE = 0.005  # smallest difference called significant: with enough videos, even irrelevant differences are
DELONG, MCNEMAR, BOOTSTRAP = "DeLong", "McNemar", "paired bootstrap"
SPECIFIC_TESTS = {"auc": DELONG, "accuracy": MCNEMAR}


@dataclass(frozen=True)
class MetricDifference:
    """The difference of one metric: B minus A."""

    metric: str
    a: float
    b: float
    low: float  # bounds of the difference's 95 % interval
    high: float
    p: float  # probability of such a difference by chance
    test: str
    corrected_p: float = float("nan")

    @property
    def is_significant(self) -> bool:
        return self.corrected_p < SIGNIFICANCE_LEVEL and abs(self.b - self.a) >= MIN_DIFFERENCE


def compare(a: Scores, b: Scores, groups: NDArray[np.int64], draws: int, seed: int) -> list[MetricDifference]:
    """The difference of each metric, in the order of `compute_metrics`, with corrected p values."""
    values_a, values_b = ({name: values[0] for name, values in compute_metrics(scores).items()} for scores in (a, b))
    # The same seed gives both detectors the same draws.
    drawn_a, drawn_b = (compute_metrics(scores, bootstrap_weights(groups, draws, seed)) for scores in (a, b))
    differences = []
    for name in values_a:
        drawn = drawn_b.get(name, NO_DRAWS) - drawn_a.get(name, NO_DRAWS)
        drawn = drawn[~np.isnan(drawn)]
        low, high = np.quantile(drawn, QUANTILES) if len(drawn) else (np.nan, np.nan)
        test = SPECIFIC_TESTS.get(name, BOOTSTRAP)
        p = _bootstrap_p_value(drawn)
        if test == DELONG:
            low, high, p = delong_interval(a.labels, a.probabilities, b.probabilities)
        elif test == MCNEMAR:
            p = mcnemar_p_value(a.called_fake == a.labels, b.called_fake == b.labels)
        value_a, value_b = float(values_a[name]), float(values_b[name])
        differences.append(MetricDifference(name, value_a, value_b, float(low), float(high), p, test))
    p_values = holm_corrected([difference.p for difference in differences])
    return [replace(difference, corrected_p=p) for difference, p in zip(differences, p_values, strict=True)]


def delong_interval(labels: NDArray[np.int64], a: Array, b: Array) -> tuple[float, float, float]:
    """Bounds of the 95 % interval of B's AUC minus A's, and the p value of no difference."""
    difference, variance = _delong_difference(labels, a, b)
    if np.isnan(difference):
        return (np.nan,) * 3
    if variance <= 1e-18:
        return difference, difference, 1.0 if abs(difference) < 1e-12 else 0.0
    error = float(np.sqrt(variance))
    reach = float(norm.ppf(QUANTILES[1])) * error
    return difference - reach, difference + reach, float(2 * norm.sf(abs(difference) / error))


def _delong_difference(labels: NDArray[np.int64], a: Array, b: Array) -> tuple[float, float]:
    """The difference of the AUCs and its variance."""
    fake = labels == 1
    fakes, reals = int(fake.sum()), int((~fake).sum())
    if min(fakes, reals) < 2:
        return float("nan"), float("nan")
    # The share of real videos ranked below each fake, and of fakes ranked above each real video; the mean of either is the AUC.
    above = np.array([(rankdata(p)[fake] - rankdata(p[fake])) / reals for p in (a, b)])
    below = np.array([1 - (rankdata(p)[~fake] - rankdata(p[~fake])) / fakes for p in (a, b)])
    of_fakes, of_reals = np.diff(above, axis=0)[0], np.diff(below, axis=0)[0]
    return float(of_fakes.mean()), float(of_fakes.var(ddof=1) / fakes + of_reals.var(ddof=1) / reals)


def mcnemar_p_value(a_right: NDArray[np.bool_], b_right: NDArray[np.bool_]) -> float:
    """P value of McNemar's exact test: whether the videos that only one detector gets right favour one of them."""
    table = [[np.sum((a_right == a) & (b_right == b)) for b in (True, False)] for a in (True, False)]
    return float(mcnemar(table, exact=True).pvalue)


def _bootstrap_p_value(drawn: Array) -> float:
    """Two-sided p value: twice the share of draws on the rarer side of no difference."""
    if not len(drawn):
        return float("nan")
    rarer = min((drawn <= 0).sum(), (drawn >= 0).sum())
    return float(min(1.0, 2 * (rarer + 1) / (len(drawn) + 1)))


def holm_corrected(p_values: Sequence[float]) -> list[float]:
    """P values corrected for their number; NaN is ignored and stays NaN."""
    known = ~np.isnan(p_values)
    corrected = np.full(len(p_values), np.nan)
    if known.any():
        corrected[known] = multipletests(np.array(p_values)[known], method="holm")[1]
    return corrected.tolist()
