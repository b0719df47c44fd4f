"""Validation videos with their fake probabilities -> probabilities that mean what they say, and a band where to abstain.

By temperature (Guo et al. 2017: all logits divided by one number) or isotonic (any rising steps; it needs more videos). The
band is conformal: of videos like those of validation, at most the chosen share of either class ends on its wrong side.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

Array = NDArray[np.float64]
LARGEST_LOG_TEMPERATURE = 4.0
LEAST = 1e-6  # that a probability whose logit is taken keeps away from 0 and 1
METHODS = ("temperature", "isotonic", "none")


@dataclass(frozen=True)
class Calibration:
    """What validation says about probabilities; a checkpoint carries it."""

    temperature: float
    steps: tuple[tuple[float, ...], tuple[float, ...]]  # of the isotonic line: probabilities, and what they become
    real: tuple[float, ...]  # probabilities of the validation's originals, sorted
    fake: tuple[float, ...]  # and of its fakes

    @classmethod
    def fit(cls, labels: NDArray[np.int64], probabilities: Array) -> "Calibration":
        real, fake = (tuple(np.sort(probabilities[labels == label]).tolist()) for label in (0, 1))
        return cls(_temperature(labels, probabilities), _steps(labels, probabilities), real, fake)

    @classmethod
    def read(cls, facts: dict[str, Any]) -> "Calibration":
        xs, ys = facts["steps"]
        return cls(facts["temperature"], (tuple(xs), tuple(ys)), tuple(facts["real"]), tuple(facts["fake"]))

    def facts(self) -> dict[str, Any]:
        return asdict(self)

    def by(self, method: str) -> Callable[[Array], Array]:
        """probabilities -> calibrated ones."""
        if method == "temperature":
            return lambda raw: expit(logits_of(raw) / self.temperature)
        if method == "isotonic":
            return lambda raw: np.interp(raw, *self.steps)
        return lambda raw: raw

    def band(self, error: float) -> tuple[float, float]:
        """Uncertain are the probabilities from low to high, both of them before calibration."""
        highest_real = _nth(self.real, math.ceil((len(self.real) + 1) * (1 - error)), beyond=1.0)
        lowest_fake = 1 - _nth([1 - p for p in reversed(self.fake)], math.ceil((len(self.fake) + 1) * (1 - error)), beyond=1.0)
        return min(highest_real, lowest_fake), max(highest_real, lowest_fake)


def _nth(rising: Any, number: int, beyond: float) -> float:
    return rising[number - 1] if number <= len(rising) else beyond


def logits_of(probabilities: Array) -> Array:
    return logit(np.clip(probabilities, LEAST, 1 - LEAST))


def _temperature(labels: NDArray[np.int64], probabilities: Array) -> float:
    signed = np.where(labels == 1, 1, -1) * logits_of(probabilities)

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0, -signed / np.exp(log_temperature)).mean())

    bounds = (-LARGEST_LOG_TEMPERATURE, LARGEST_LOG_TEMPERATURE)
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x)) if len(labels) else 1.0


def _steps(labels: NDArray[np.int64], probabilities: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Never quite 0 nor 1: so few videos cannot say that."""
    if not len(labels):
        return (0.0, 1.0), (0.0, 1.0)
    from sklearn.isotonic import IsotonicRegression  # takes a second, which a verdict need not wait

    line = IsotonicRegression(y_min=1 / (2 * len(labels)), y_max=1 - 1 / (2 * len(labels))).fit(probabilities, labels)
    return tuple(line.X_thresholds_.tolist()), tuple(line.y_thresholds_.tolist())
