"""Fit a fusion on validation videos: Bayesian search for the members' weights, seeded and resumable after any trial.

Each trial has its own seed and depends only on the trials before it, so an interrupted search ends like an uninterrupted one.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from scipy.optimize import minimize_scalar
from sklearn.model_selection import StratifiedGroupKFold

from explain_deepfakes.model_test_train.evaluation.fusion import (
    Fusion,
    MemberLogits,
    balanced_log_loss,
    fit_attention,
    fit_stacking,
)
from explain_deepfakes.model_test_train.metrics.calibration import Calibration, clipped_logits, sigmoid

MAX_SHARPNESS = 4.0
MAX_LOG_SCALE = 3.0
RANDOM_TRIALS = 20  # before the sampler uses its model of earlier trials


def fit_fusion(method: str, faces: MemberLogits, trials: int, seed: int, journal: Path | None = None) -> Fusion:
    """Fit the members' temperatures, and the parameters that give these videos the lowest loss."""
    labels = faces.face_labels()
    temperatures = [Calibration.fit(labels, probabilities).temperature for probabilities in sigmoid(faces.logits).T]
    tempered = replace(faces, logits=faces.logits / temperatures)
    if method == "stacking":
        fusion = fit_stacking(tempered, seed)
    elif method == "attention":
        fusion = fit_attention(tempered, seed)
    else:
        fusion = search_weights(method, tempered, trials, seed, journal)
    return replace(fusion, temperatures=tuple(temperatures))


def search_weights(method: str, faces: MemberLogits, trials: int, seed: int, journal: Path | None) -> Fusion:
    """Search weights that sum to 1, and for `confidence` also the sharpness."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    members = faces.logits.shape[1]

    def build_fusion(trial: optuna.Trial | optuna.trial.FrozenTrial) -> Fusion:
        shares = np.array([trial.params[f"member {number}"] for number in range(members)])
        sharpness = {"sharpness": trial.params["sharpness"]} if method == "confidence" else {}
        return fit_scale(Fusion(method, {"weights": (shares / shares.sum()).tolist(), **sharpness}), faces)

    def objective(trial: optuna.Trial) -> float:
        for number in range(members):
            trial.suggest_float(f"member {number}", 1e-3, 1.0)
        if method == "confidence":
            trial.suggest_float("sharpness", 0.0, MAX_SHARPNESS)
        return balanced_log_loss(faces.labels, faces.aggregate(build_fusion(trial)(faces.logits)))

    storage = None
    if journal:
        journal.parent.mkdir(parents=True, exist_ok=True)
        storage = JournalStorage(JournalFileBackend(str(journal)))
    study = optuna.create_study(storage=storage, study_name=f"{method} {members} {seed}", load_if_exists=True)
    if not study.trials:
        equal = {f"member {number}": 1.0 for number in range(members)}
        study.enqueue_trial({**equal, "sharpness": 0.0} if method == "confidence" else equal)
    for number in range(count_complete(study), trials):
        study.sampler = optuna.samplers.TPESampler(
            seed=seed * 10_007 + number, n_startup_trials=RANDOM_TRIALS, multivariate=True
        )
        study.optimize(objective, n_trials=1)
    return build_fusion(study.best_trial)


def fit_scale(fusion: Fusion, faces: MemberLogits) -> Fusion:
    """Fit the scale of the fused logits (an inverse temperature) that gives the videos the lowest loss."""
    fused_logits = clipped_logits(Fusion(fusion.method, {**fusion.parameters, "scale": 1.0})(faces.logits))

    def loss(log_scale: float) -> float:
        return balanced_log_loss(faces.labels, faces.aggregate(sigmoid(np.exp(log_scale) * fused_logits)))

    scale = np.exp(minimize_scalar(loss, bounds=(-MAX_LOG_SCALE, MAX_LOG_SCALE), method="bounded").x)
    return Fusion(fusion.method, {**fusion.parameters, "scale": float(scale)})


def count_complete(study: optuna.Study) -> int:
    return sum(trial.state == optuna.trial.TrialState.COMPLETE for trial in study.trials)


def make_folds(faces: MemberLogits, count: int, seed: int) -> list[NDArray[np.bool_]]:
    """For each fold a mask of its held-out videos, which share no person with the videos outside the fold.

    The list is empty if no such folds exist: all videos share people, or the rest of a fold would have only one class.
    """
    count = min(count, len(set(faces.groups.tolist())))
    if count < 2:
        return []
    split = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    numbers = np.arange(len(faces.labels))
    masks = [np.isin(numbers, held_out) for _, held_out in split.split(faces.labels, faces.labels, faces.groups)]
    return masks if all(len(set(faces.labels[~mask].tolist())) == 2 for mask in masks) else []


def out_of_fold_probabilities(
    method: str, faces: MemberLogits, folds: Sequence[NDArray[np.bool_]], trials: int, seed: int
) -> NDArray[np.float64]:
    """Each video's probability by a fusion that was fitted without the video's fold; by one fitted on all without folds."""
    if not folds:
        return faces.aggregate(fit_fusion(method, faces, trials, seed)(faces.logits))
    probabilities = np.full(len(faces.labels), np.nan)
    for mask in folds:
        held_out = faces.select(mask)
        fusion = fit_fusion(method, faces.select(~mask), trials, seed)
        probabilities[mask] = held_out.aggregate(fusion(held_out.logits))
    return probabilities
