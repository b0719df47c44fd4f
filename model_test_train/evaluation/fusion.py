"""Fuse several networks' scores of the same faces to one score per face: average, confidence, attention or stacking.

The parameters of a fusion are a small table of numbers (`Fusion.parameters`), fitted on validation videos only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from explain_deepfakes.model_test_train.metrics.calibration import PROBABILITY_MARGIN, sigmoid

Array = NDArray[np.float64]
FusionParameters = Mapping[str, ArrayLike]
STEPS, LEARNING_RATE = 300, 0.05  # to fit the attention
WEIGHT_DECAY = 0.01


@dataclass(frozen=True)
class MemberLogits:
    """The logits of all members for the faces of some videos, sorted by video and person."""

    logits: Array  # (faces, members)
    people: NDArray[np.int64]  # index of each person's first face
    videos: NDArray[np.int64]  # index of each video's first person
    labels: NDArray[np.int64]  # of the videos
    groups: NDArray[np.int64]  # of the videos: those that share a person are in one group

    def aggregate(self, probabilities: Array) -> Array:
        """Probabilities of faces -> of videos: the mean over a person's faces, the maximum over a video's people."""
        sizes = np.diff(np.append(self.people, len(probabilities)))
        return np.maximum.reduceat(np.add.reduceat(probabilities, self.people) / sizes, self.videos)

    def select(self, selected: NDArray[np.bool_]) -> "MemberLogits":
        """The logits for a subset of the videos."""
        of_people = np.repeat(selected, np.diff(np.append(self.videos, len(self.people))))
        of_faces = np.repeat(of_people, np.diff(np.append(self.people, len(self.logits))))
        people_sizes = np.diff(np.append(self.people, len(self.logits)))[of_people]
        video_sizes = np.diff(np.append(self.videos, len(self.people)))[selected]
        firsts = [np.concatenate(([0], np.cumsum(sizes)[:-1])) for sizes in (people_sizes, video_sizes)]
        return MemberLogits(self.logits[of_faces], firsts[0], firsts[1], self.labels[selected], self.groups[selected])

    def face_labels(self) -> NDArray[np.int64]:
        of_people = np.repeat(self.labels, np.diff(np.append(self.videos, len(self.people))))
        return np.repeat(of_people, np.diff(np.append(self.people, len(self.logits))))


def balanced_log_loss(labels: NDArray[np.int64], probabilities: Array) -> float:
    """Log loss in which both classes have the same total weight."""
    of_label = np.clip(np.where(labels == 1, probabilities, 1 - probabilities), PROBABILITY_MARGIN, 1)
    return float(-np.mean([np.log(of_label[labels == label]).mean() for label in np.unique(labels)]))


@dataclass(frozen=True)
class Fusion:
    """A fusion method with its fitted parameters."""

    method: str
    parameters: FusionParameters
    temperatures: tuple[float, ...] = (1.0,)  # the members' logits are divided by these first

    def __call__(self, logits: Array) -> Array:
        """(faces, members) -> (faces,) probabilities."""
        parameters = {name: np.asarray(value) for name, value in self.parameters.items()}
        return FUSION_METHODS[self.method](logits / np.asarray(self.temperatures), **parameters)


def average(logits: Array, weights: Array, scale: Array) -> Array:
    return sigmoid(scale * (logits @ weights))


def confidence(logits: Array, weights: Array, sharpness: Array, scale: Array) -> Array:
    """For each face, members that are more confident have a larger weight."""
    shares = weights * (np.abs(2 * sigmoid(logits) - 1) + PROBABILITY_MARGIN) ** sharpness
    return sigmoid(scale * (shares * logits).sum(1) / shares.sum(1))


def stacking(logits: Array, weights: Array, bias: Array) -> Array:
    return sigmoid(logits @ weights + bias)


def attention(logits: Array, bias: Array, by_feature: Array, scale: Array) -> Array:
    """For each face, a softmax over the members' features gives their weights."""
    attention_logits = bias + np.einsum("fmk,mk->fm", member_features(logits), by_feature)
    shares = np.exp(attention_logits - attention_logits.max(1, keepdims=True))
    return sigmoid(scale * (shares * logits).sum(1) / shares.sum(1))


def member_features(logits: Array) -> Array:
    """Confidence of each member, and distance of its logit from the mean of all members (faces, members, 2)."""
    return np.stack((np.abs(logits), np.abs(logits - logits.mean(1, keepdims=True))), -1) / 4


FUSION_METHODS: dict[str, Callable[..., Array]] = {
    "average": average,
    "confidence": confidence,
    "attention": attention,
    "stacking": stacking,
}


def fit_stacking(faces: MemberLogits, seed: int) -> Fusion:
    """Fit a logistic regression on the members' logits."""
    from sklearn.linear_model import LogisticRegression  # takes a second to import, which a verdict need not wait for

    regression = LogisticRegression(class_weight="balanced", random_state=seed).fit(faces.logits, faces.face_labels())
    return Fusion("stacking", {"weights": regression.coef_[0].tolist(), "bias": float(regression.intercept_[0])})


def fit_attention(faces: MemberLogits, seed: int) -> Fusion:
    """Fit by gradient descent from equal weights; regularised, since there are few videos."""
    logits, features = torch.from_numpy(faces.logits), torch.from_numpy(member_features(faces.logits))
    labels = torch.from_numpy(faces.face_labels()).double()
    share = labels.mean().clamp(1e-3, 1 - 1e-3)
    weights = torch.where(labels > 0, 0.5 / share, 0.5 / (1 - share))
    members = logits.shape[1]
    parameters = {
        "bias": torch.zeros(members, dtype=torch.float64),
        "by_feature": torch.zeros(members, 2, dtype=torch.float64),
        "scale": torch.ones((), dtype=torch.float64),
    }
    optimizer = torch.optim.Adam([value.requires_grad_() for value in parameters.values()], LEARNING_RATE)
    for _ in range(STEPS):
        shares = (parameters["bias"] + torch.einsum("fmk,mk->fm", features, parameters["by_feature"])).softmax(1)
        fused = parameters["scale"] * (shares * logits).sum(1)
        penalty = WEIGHT_DECAY * (parameters["bias"].square().sum() + parameters["by_feature"].square().sum())
        loss = torch.nn.functional.binary_cross_entropy_with_logits(fused, labels, weights) + penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Fusion("attention", {name: value.detach().tolist() for name, value in parameters.items()})
