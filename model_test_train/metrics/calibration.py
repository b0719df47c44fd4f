"""Calibrate fake probabilities on the validation videos, and find the band in which to abstain.

Calibration is by temperature (Guo et al. 2017: all logits divided by one number) or isotonic (any monotonic step function,
which needs more videos). The band is conformal: of videos like those of validation, at most the chosen share of either class
lies on the wrong side of it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explain_deepfakes.pipeline.calibration_table import CalibrationTable

Array = NDArray[np.float64]
MAX_LOG_TEMPERATURE = 4.0
PROBABILITY_MARGIN = 1e-6  # distance from 0 and 1 to which probabilities are clipped before taking the logit


@dataclass(frozen=True)
class Calibration:
    """What was fitted on the validation videos, and their scores; every checkpoint carries it."""

    temperature: float
    steps: tuple[tuple[float, ...], tuple[float, ...]]  # isotonic regression: probabilities, and their calibrated values
    real: tuple[float, ...]  # sorted probabilities of the real validation videos
    fake: tuple[float, ...]  # sorted probabilities of the fake ones

    @classmethod
    def fit(cls, labels: NDArray[np.int64], probabilities: Array) -> "Calibration":
        real, fake = (tuple(np.sort(probabilities[labels == label]).tolist()) for label in (0, 1))
        return cls(_fit_temperature(labels, probabilities), _fit_isotonic(labels, probabilities), real, fake)

    @classmethod
    def from_dict(cls, table: CalibrationTable) -> "Calibration":
        xs, ys = table["steps"]
        return cls(table["temperature"], (tuple(xs), tuple(ys)), tuple(table["real"]), tuple(table["fake"]))

    def to_dict(self) -> CalibrationTable:
        return {"temperature": self.temperature, "steps": self.steps, "real": self.real, "fake": self.fake}

    def calibrator(self, method: str) -> Callable[[Array], Array]:
        """The function that calibrates probabilities by a method."""
        if method == "temperature":
            return lambda raw: sigmoid(clipped_logits(raw) / self.temperature)
        if method == "isotonic":
            return lambda raw: np.interp(raw, *self.steps)
        return lambda raw: raw

    def uncertain_band(self, error: float) -> tuple[float, float]:
        """Lowest and highest uncalibrated probability for which the verdict is uncertain."""
        quantile = 1 - error
        highest_real = _nth(self.real, math.ceil((len(self.real) + 1) * quantile), beyond=1.0)
        lowest_fake = 1 - _nth([1 - p for p in reversed(self.fake)], math.ceil((len(self.fake) + 1) * quantile), beyond=1.0)
        return min(highest_real, lowest_fake), max(highest_real, lowest_fake)


def _nth(ascending: Sequence[float], number: int, beyond: float) -> float:
    """The n-th value, counted from 1, or `beyond` if there are fewer."""
    return ascending[number - 1] if number <= len(ascending) else beyond


def clipped_logits(probabilities: Array) -> Array:
    clipped = np.clip(probabilities, PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN)
    return np.log(clipped) - np.log1p(-clipped)


def sigmoid(logits: Array) -> Array:
    """As scipy.special.expit, which takes a third of a second to import; large logits do not overflow."""
    return np.exp(-np.logaddexp(0, -logits))


def _fit_temperature(labels: NDArray[np.int64], probabilities: Array) -> float:
    from scipy.optimize import minimize_scalar  # slow to import, as sklearn below

    signed_logits = np.where(labels == 1, 1, -1) * clipped_logits(probabilities)

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0, -signed_logits / np.exp(log_temperature)).mean())

    bounds = (-MAX_LOG_TEMPERATURE, MAX_LOG_TEMPERATURE)
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x)) if len(labels) else 1.0


def _fit_isotonic(labels: NDArray[np.int64], probabilities: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Calibrated values stay away from 0 and 1, for which there are too few videos."""
    if not len(labels):
        return (0.0, 1.0), (0.0, 1.0)
    from sklearn.isotonic import IsotonicRegression  # takes a second to import, which a verdict need not wait for

    margin = 1 / (2 * len(labels))
    regression = IsotonicRegression(y_min=margin, y_max=1 - margin).fit(probabilities, labels)
    return tuple(regression.X_thresholds_.tolist()), tuple(regression.y_thresholds_.tolist())
