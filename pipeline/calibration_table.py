"""The calibration of a network, as a checkpoint stores it."""

from collections.abc import Sequence

from pydantic import FiniteFloat
from typing_extensions import TypedDict  # until Python 3.12, pydantic checks only this one


class CalibrationTable(TypedDict):
    """The fields of `metrics.calibration.Calibration`."""

    temperature: FiniteFloat
    steps: tuple[Sequence[FiniteFloat], Sequence[FiniteFloat]]
    real: Sequence[FiniteFloat]
    fake: Sequence[FiniteFloat]
