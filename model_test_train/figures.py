"""Labels and fake probabilities -> accuracy, AUC, F1, each with a 95 % interval drawn over groups of identities.

Videos of one person are no independent witnesses: a draw takes or leaves a whole group of connected identities.
"""

from collections.abc import Callable, Sequence

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

from pipeline.index import Video


def auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Area under the ROC; not a number where only one class is there."""
    return float(roc_auc_score(labels, probabilities)) if len(np.unique(labels)) == 2 else float("nan")


def f1(labels: np.ndarray, called_fake: np.ndarray) -> float:
    """Harmonic mean of precision and recall of the fakes; scikit-learn's, without its checks in every draw."""
    hits = (labels.astype(bool) & called_fake).sum()
    total = labels.sum() + called_fake.sum()
    return float(2 * hits / total) if total else 0.0


def figures(
    labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray, threshold: float, draws: int, seed: int
) -> dict[str, object]:
    """The figures of one level (frames or videos), each `{"value", "low", "high"}`; null where it cannot be computed."""
    measures: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "accuracy": lambda y, p: float(((p > threshold) == y).mean()),
        "auc": auc,
        "f1": lambda y, p: f1(y, p > threshold),
    }
    resamples = list(bootstrap(groups, draws, seed)) if len(labels) else []
    table: dict[str, object] = {"count": len(labels), "fakes": int(labels.sum())}
    for name, measure in measures.items():
        value = measure(labels, probabilities) if len(labels) else float("nan")
        drawn = np.array([measure(labels[rows], probabilities[rows]) for rows in resamples])
        drawn = drawn[~np.isnan(drawn)] if len(drawn) else drawn
        low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (float("nan"),) * 2
        table[name] = {"value": plain(value), "low": plain(low), "high": plain(high)}
    return table


def bootstrap(groups: np.ndarray, draws: int, seed: int) -> Sequence[np.ndarray]:
    """Row numbers of each draw: as many groups as there are, with replacement."""
    generator = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    return [
        np.concatenate([members[pick] for pick in generator.integers(len(members), size=len(members))]) for _ in range(draws)
    ]


def identity_groups(videos: Sequence[Video]) -> dict[str, int]:
    """video -> the number of its group: videos that share a person, directly or through others."""
    leader: dict[str, str] = {}

    def find(identity: str) -> str:
        while leader.setdefault(identity, identity) != identity:
            identity = leader[identity]
        return identity

    for video in videos:
        for identity in video.identities:
            leader[find(identity)] = find(video.identities[0])
    numbers = {root: number for number, root in enumerate(sorted({find(video.identities[0]) for video in videos}))}
    return {video.video: numbers[find(video.identities[0])] for video in videos}


def best_threshold(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The threshold of best balanced accuracy, in the middle of the gap between the scores it parts."""
    if len(np.unique(labels)) < 2:
        return 0.5
    false_positive, true_positive, thresholds = roc_curve(labels, probabilities, drop_intermediate=False)
    chosen = int(np.argmax(true_positive - false_positive))
    if not np.isfinite(thresholds[chosen]):
        return 0.5
    below = probabilities[probabilities < thresholds[chosen]]
    return float((thresholds[chosen] + below.max()) / 2) if len(below) else float(thresholds[chosen] / 2)


def plain(number: float) -> float | None:
    """For JSON, which knows no NaN."""
    return None if np.isnan(number) else round(float(number), 6)
