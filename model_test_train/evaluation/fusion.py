"""Several networks' scores of the same faces -> one score a face: by fixed weights, by confidence, by attention or by stacking.

What each way has learnt is a small table of numbers (`Fused.facts`), fitted on validation videos alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from model_test_train.metrics.calibration import LEAST

Array = NDArray[np.float64]
STEPS, RATE = 300, 0.05  # of the attention's training


@dataclass(frozen=True)
class Faces:
    """What the members found in the faces of some videos, sorted by video and person."""

    logits: Array  # (faces, members)
    people: NDArray[np.int64]  # first face of each person
    videos: NDArray[np.int64]  # first person of each video
    labels: NDArray[np.int64]  # of the videos
    groups: NDArray[np.int64]  # of the videos: who shares a person

    def judged(self, probabilities: Array) -> Array:
        """One a face -> one a video: the mean of a person's faces, and the highest person decides."""
        sizes = np.diff(np.append(self.people, len(probabilities)))
        return np.maximum.reduceat(np.add.reduceat(probabilities, self.people) / sizes, self.videos)

    def only(self, chosen: NDArray[np.bool_]) -> "Faces":
        """Those of some of the videos."""
        of_people = np.repeat(chosen, np.diff(np.append(self.videos, len(self.people))))
        of_faces = np.repeat(of_people, np.diff(np.append(self.people, len(self.logits))))
        people_sizes = np.diff(np.append(self.people, len(self.logits)))[of_people]
        video_sizes = np.diff(np.append(self.videos, len(self.people)))[chosen]
        firsts = [np.concatenate(([0], np.cumsum(sizes)[:-1])) for sizes in (people_sizes, video_sizes)]
        return Faces(self.logits[of_faces], firsts[0], firsts[1], self.labels[chosen], self.groups[chosen])

    def face_labels(self) -> NDArray[np.int64]:
        of_people = np.repeat(self.labels, np.diff(np.append(self.videos, len(self.people))))
        return np.repeat(of_people, np.diff(np.append(self.people, len(self.logits))))


def loss(labels: NDArray[np.int64], probabilities: Array) -> float:
    """Log loss with both classes counting alike, however many there are of each."""
    right = np.clip(np.where(labels == 1, probabilities, 1 - probabilities), LEAST, 1)
    return float(-np.mean([np.log(right[labels == label]).mean() for label in np.unique(labels)]))


@dataclass(frozen=True)
class Fused:
    """A way to make one score of several, with what it has learnt."""

    way: str
    facts: dict[str, Any]
    temperatures: tuple[float, ...] = (1.0,)  # of the members, by which their logits are divided first

    def __call__(self, logits: Array) -> Array:
        """(faces, members) -> (faces,) probabilities."""
        facts = {name: np.asarray(value) for name, value in self.facts.items()}
        return ENCODING_CHAINS[self.way](logits / np.asarray(self.temperatures), **facts)


def average(logits: Array, weights: Array, scale: Array) -> Array:
    return expit(scale * (logits @ weights))


def confidence(logits: Array, weights: Array, sharpness: Array, scale: Array) -> Array:
    """Who is sure counts for more, face by face."""
    shares = weights * (np.abs(2 * expit(logits) - 1) + LEAST) ** sharpness
    return expit(scale * (shares * logits).sum(1) / shares.sum(1))


def stacking(logits: Array, weights: Array, bias: Array) -> Array:
    return expit(logits @ weights + bias)


def attention(logits: Array, bias: Array, by_feature: Array, scale: Array) -> Array:
    """Each member is asked how much to listen to it, by how sure it is and how far from the others."""
    asked = bias + np.einsum("fmk,mk->fm", features(logits), by_feature)
    shares = np.exp(asked - asked.max(1, keepdims=True))
    return expit(scale * (shares * logits).sum(1) / shares.sum(1))


def features(logits: Array) -> Array:
    """Of each member's score (faces, members, 2): how sure it is, and how far from the mean of all."""
    return np.stack((np.abs(logits), np.abs(logits - logits.mean(1, keepdims=True))), -1) / 4


ENCODING_CHAINS: dict[str, Callable[..., Array]] = {
    "average": average,
    "confidence": confidence,
    "attention": attention,
    "stacking": stacking,
}


def fit_stacking(faces: Faces, seed: int) -> Fused:
    from sklearn.linear_model import LogisticRegression  # takes a second, which a verdict need not wait

    fitted = LogisticRegression(class_weight="balanced", random_state=seed).fit(faces.logits, faces.face_labels())
    return Fused("stacking", {"weights": fitted.coef_[0].tolist(), "bias": float(fitted.intercept_[0])})


def fit_attention(faces: Faces, seed: int) -> Fused:
    """By gradient, from listening to all alike; held back, since there are few videos."""
    logits, seen = torch.from_numpy(faces.logits), torch.from_numpy(features(faces.logits))
    labels = torch.from_numpy(faces.face_labels()).double()
    share = labels.mean().clamp(1e-3, 1 - 1e-3)
    weights = torch.where(labels > 0, 0.5 / share, 0.5 / (1 - share))
    members = logits.shape[1]
    learnt = {
        "bias": torch.zeros(members, dtype=torch.float64),
        "by_feature": torch.zeros(members, 2, dtype=torch.float64),
        "scale": torch.ones((), dtype=torch.float64),
    }
    optimizer = torch.optim.Adam([value.requires_grad_() for value in learnt.values()], RATE)
    for _ in range(STEPS):
        shares = (learnt["bias"] + torch.einsum("fmk,mk->fm", seen, learnt["by_feature"])).softmax(1)
        fused = learnt["scale"] * (shares * logits).sum(1)
        held_back = 0.01 * (learnt["bias"].square().sum() + learnt["by_feature"].square().sum())
        error = torch.nn.functional.binary_cross_entropy_with_logits(fused, labels, weights) + held_back
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    return Fused("attention", {name: value.detach().tolist() for name, value in learnt.items()})


def votes(logits: Array, thresholds: Sequence[float]) -> NDArray[np.bool_]:
    """Which members call it fake (rows, members)."""
    return expit(logits) > np.asarray(thresholds)
