"""The people of a video over time, with their scores and heatmaps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from explain_deepfakes.model_test_train.metrics.aggregation import FAKE_VERDICT
from explain_deepfakes.model_test_train.networks.input_contract import Image
from explain_deepfakes.preprocessing.crops.crops import Window

TOP_SCORING_FRAMES = 3  # marked per person


@dataclass(frozen=True)
class Moment:
    """A person in one of the scored frames."""

    frame: int
    window: Window  # in the frame's pixels
    crop: Image
    heat: np.ndarray  # (height, width) of the crop, for the person's verdict
    probability: float  # fake probability of this frame


@dataclass(frozen=True)
class Person:
    """A person over time. The heat of every moment is for the verdict on this person, so show that verdict with it."""

    verdict: str
    is_uncertain: bool
    moments: list[Moment]  # in order of time

    @property
    def called_fake(self) -> bool:
        return self.verdict == FAKE_VERDICT

    @property
    def label(self) -> str:
        """The verdict for display."""
        return f"{self.verdict} (uncertain)" if self.is_uncertain else self.verdict


People = dict[int, Person]  # by track


class HasProbability(Protocol):
    @property
    def probability(self) -> float: ...


Scored = TypeVar("Scored", bound=HasProbability)


def top_scoring_frames(frames: Sequence[Scored], called_fake: bool) -> list[Scored]:
    """The frames whose scores support the person's verdict most."""
    return sorted(frames, key=lambda frame: -frame.probability if called_fake else frame.probability)[:TOP_SCORING_FRAMES]
