"""A matrix of scores: a row per video, a column per detector. Metrics of each, comparisons, and a fusion for unseen generators.

A detector may lack the score of some videos. Its metrics are over the videos that it scored; a comparison of two is over those
that both scored; the fusion fills gaps with the detector's mean and gets a column that says where they were.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from explain_deepfakes.model_test_train.evaluation.score_tables import (
    DEFAULT_METHODS,
    find_columns,
    group_numbers,
    parse_label,
    read_csv,
)
from explain_deepfakes.model_test_train.evaluation.testing import LabelledScore
from explain_deepfakes.model_test_train.metrics.calibration import PROBABILITY_MARGIN
from explain_deepfakes.model_test_train.metrics.comparison import DELONG, MetricDifference, delong_interval, holm_corrected
from explain_deepfakes.pipeline.errors import UserError

FUSED = "fused"
IGNORED = ("split", "verdict", "outcome", "uncertain")  # columns of tables that are no detector

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ScoreMatrix:
    videos: list[str]
    labels: NDArray[np.int64]
    methods: list[str]  # manipulation or generator of each video
    groups: NDArray[np.int64]  # videos that share a person have the same number
    detectors: list[str]
    scores: Array  # (videos, detectors); NaN where there is none

    def scores_of(self, detector: int, threshold: float) -> list[LabelledScore]:
        """The labelled scores of one detector, of the videos that it scored."""
        column = self.scores[:, detector]
        return [
            LabelledScore(
                self.videos[row],
                self.methods[row],
                int(self.labels[row]),
                int(self.groups[row]),
                float(column[row]),
                bool(column[row] > threshold),
            )
            for row in np.flatnonzero(~np.isnan(column))
        ]

    def with_detector(self, name: str, scores: Array) -> "ScoreMatrix":
        return ScoreMatrix(
            self.videos, self.labels, self.methods, self.groups, [*self.detectors, name], np.column_stack((self.scores, scores))
        )


def read_matrix(path: Path, by: str | None) -> ScoreMatrix | None:
    """Read a CSV with a column per detector; None if it has one column of probabilities. `by` names the column of groups."""
    names, rows = read_csv(path)
    columns = find_columns(names)
    if by:
        if by not in names:
            raise UserError(f"{path} has no column '{by}'; there are: {', '.join(names)}")
        columns["method"] = by
    if "probability" in columns or not {"video", "label"} <= columns.keys():
        return None
    detectors = [name for name in names if name not in columns.values() and name.lower() not in IGNORED]
    if not detectors or not rows:
        return None
    labels = np.array([parse_label(path, row[columns["label"]], row[columns["video"]]) for row in rows])
    methods = [
        row[columns["method"]] or DEFAULT_METHODS[label] if "method" in columns else DEFAULT_METHODS[label]
        for row, label in zip(rows, labels, strict=True)
    ]
    people = [row[columns["identities"]].split() if "identities" in columns else [] for row in rows]
    videos = [row[columns["video"]] for row in rows]
    repeated, count = Counter(videos).most_common(1)[0]
    if count > 1:
        raise UserError(f"{path} has several rows for {repeated}; a matrix has one row per video")
    scores = np.array([[_parse_score(path, name, row) for name in detectors] for row in rows])
    return ScoreMatrix(videos, labels, methods, np.array(group_numbers(videos, people)), detectors, scores)


def _parse_score(path: Path, detector: str, row: dict[str, str]) -> float:
    text = row[detector]
    try:
        score = float(text) if text else float("nan")
    except ValueError:
        raise UserError(
            f"{path}: the score of {detector} is '{text}', not a number; remove columns that are no scores"
        ) from None
    if not (0 <= score <= 1 or np.isnan(score)):
        raise UserError(f"{path}: a score of {detector} is {score:g}; scores must be probabilities between 0 and 1")
    return score


def compare_detectors(matrix: ScoreMatrix) -> list[tuple[str, str, MetricDifference]]:
    """The differences of the AUCs of all pairs of detectors, each over the videos that both scored."""
    from sklearn.metrics import roc_auc_score

    pairs = []
    for a, b in combinations(range(len(matrix.detectors)), 2):
        both = ~np.isnan(matrix.scores[:, [a, b]]).any(1)
        labels, scores_a, scores_b = matrix.labels[both], matrix.scores[both, a], matrix.scores[both, b]
        if len(set(labels)) < 2:
            continue
        auc_a, auc_b = float(roc_auc_score(labels, scores_a)), float(roc_auc_score(labels, scores_b))
        difference = MetricDifference("auc", auc_a, auc_b, *delong_interval(labels, scores_a, scores_b), DELONG)
        pairs.append((matrix.detectors[a], matrix.detectors[b], difference))
    corrected = holm_corrected([difference.p for _, _, difference in pairs])
    return [(a, b, replace(difference, corrected_p=p)) for (a, b, difference), p in zip(pairs, corrected, strict=True)]


def fuse_for_unseen(matrix: ScoreMatrix, seed: int) -> Array:
    """A fused score of each video, by a fusion that was fitted without its generator and without the people in it.

    For each generator of fakes, the fusion is fitted on the other generators and on a part of the real videos, and scores the
    fakes of that generator and the real videos of the remaining part.
    """
    generators = sorted({method for method, label in zip(matrix.methods, matrix.labels, strict=True) if label})
    if len(generators) < 2:
        raise UserError("a fusion for unseen generators needs fakes of at least two of them; name their column with --by")
    fold = assign_folds(matrix, generators, seed)
    fused = np.full(len(matrix.labels), np.nan)
    for number in range(len(generators)):
        tested = fold == number
        fitted = ~tested & ~np.isin(matrix.groups, matrix.groups[tested])
        if len(set(matrix.labels[fitted])) == 2:
            fused[tested] = fit_and_score(matrix, fitted, tested, seed)
    if np.isnan(fused).all():
        raise UserError("a fusion cannot be fitted: all videos share people, so none is left to fit it on")
    return fused


def assign_folds(matrix: ScoreMatrix, generators: Sequence[str], seed: int) -> NDArray[np.int64]:
    """The fold of each video: that of its generator, and for real videos that of the people in them."""
    of_generator = {name: number for number, name in enumerate(generators)}
    unique, group_index = np.unique(matrix.groups, return_inverse=True)
    of_group = np.random.default_rng(seed).permutation(len(unique)) % len(generators)
    pairs = zip(matrix.methods, matrix.labels, of_group[group_index], strict=True)
    return np.array([of_generator[method] if label else group for method, label, group in pairs])


def fit_and_score(matrix: ScoreMatrix, fitted: NDArray[np.bool_], tested: NDArray[np.bool_], seed: int) -> Array:
    """Fit a logistic regression of the logits on some videos, and score others."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probabilities = matrix.scores.clip(PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN)
    logits = np.log(probabilities / (1 - probabilities))
    known = ~np.isnan(logits[fitted]).all(0)  # a detector without any score among these says nothing
    model = make_pipeline(
        SimpleImputer(add_indicator=True), StandardScaler(), LogisticRegression(class_weight="balanced", random_state=seed)
    )
    model.fit(logits[fitted][:, known], matrix.labels[fitted])
    scores: Array = model.predict_proba(logits[tested][:, known])[:, 1]
    return scores
