"""Bayesian search for the members' weights, on validation videos: seeded, and resumable after any trial.

Each trial draws from its own seed and what is known by then, so that a search that was killed ends as one that was not.
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
from scipy.special import expit
from sklearn.model_selection import StratifiedGroupKFold

from model_test_train.evaluation.fusion import Faces, Fused, fit_attention, fit_stacking, loss
from model_test_train.metrics.calibration import Calibration, logits_of

MOST_SHARP = 4.0
LARGEST_LOG_SCALE = 3.0
STARTS_RANDOM = 20  # trials before the model of the earlier ones is asked


def fit(way: str, faces: Faces, trials: int, seed: int, journal: Path | None = None) -> Fused:
    """The members' temperatures, and the way's numbers for which these videos are judged best."""
    labels = faces.face_labels()
    temperatures = [Calibration.fit(labels, one).temperature for one in expit(faces.logits).T]
    tempered = replace(faces, logits=faces.logits / temperatures)
    if way == "stacking":
        fused = fit_stacking(tempered, seed)
    elif way == "attention":
        fused = fit_attention(tempered, seed)
    else:
        fused = searched(way, tempered, trials, seed, journal)
    return replace(fused, temperatures=tuple(temperatures))


def searched(way: str, faces: Faces, trials: int, seed: int, journal: Path | None) -> Fused:
    """Weights that add up to 1, and of `confidence` how much more counts who is sure."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    members = faces.logits.shape[1]

    def proposed(trial: optuna.Trial | optuna.trial.FrozenTrial) -> Fused:
        shares = np.array([trial.params[f"member {number}"] for number in range(members)])
        more = {"sharpness": trial.params["sharpness"]} if way == "confidence" else {}
        return scaled(Fused(way, {"weights": (shares / shares.sum()).tolist(), **more}), faces)

    def objective(trial: optuna.Trial) -> float:
        for number in range(members):
            trial.suggest_float(f"member {number}", 1e-3, 1.0)
        if way == "confidence":
            trial.suggest_float("sharpness", 0.0, MOST_SHARP)
        return loss(faces.labels, faces.judged(proposed(trial)(faces.logits)))

    storage = None
    if journal:
        journal.parent.mkdir(parents=True, exist_ok=True)
        storage = JournalStorage(JournalFileBackend(str(journal)))
    study = optuna.create_study(storage=storage, study_name=f"{way} {members} {seed}", load_if_exists=True)
    if not study.trials:
        alike = {f"member {number}": 1.0 for number in range(members)}
        study.enqueue_trial({**alike, "sharpness": 0.0} if way == "confidence" else alike)
    for number in range(finished(study), trials):
        study.sampler = optuna.samplers.TPESampler(
            seed=seed * 10_007 + number, n_startup_trials=STARTS_RANDOM, multivariate=True
        )
        study.optimize(objective, n_trials=1)
    return proposed(study.best_trial)


def scaled(fused: Fused, faces: Faces) -> Fused:
    """With the scale of the whole's logits for which probabilities mean what they say: one over its temperature."""
    fused_logits = logits_of(Fused(fused.way, {**fused.facts, "scale": 1.0})(faces.logits))

    def error(log_scale: float) -> float:
        return loss(faces.labels, faces.judged(expit(np.exp(log_scale) * fused_logits)))

    scale = np.exp(minimize_scalar(error, bounds=(-LARGEST_LOG_SCALE, LARGEST_LOG_SCALE), method="bounded").x)
    return Fused(fused.way, {**fused.facts, "scale": float(scale)})


def finished(study: optuna.Study) -> int:
    return sum(trial.state == optuna.trial.TrialState.COMPLETE for trial in study.trials)


def folds(faces: Faces, count: int, seed: int) -> list[NDArray[np.bool_]]:
    """Which videos each fold judges; nobody in them is in the others, by which it is fitted.

    None, where that cannot be: all share people, or the others would be originals alone, or fakes alone.
    """
    count = min(count, len(set(faces.groups.tolist())))
    if count < 2:
        return []
    split = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    numbers = np.arange(len(faces.labels))
    judged = [np.isin(numbers, held_out) for _, held_out in split.split(faces.labels, faces.labels, faces.groups)]
    return judged if all(len(set(faces.labels[~one].tolist())) == 2 for one in judged) else []


def out_of_fold(way: str, faces: Faces, apart: Sequence[NDArray[np.bool_]], trials: int, seed: int) -> NDArray[np.float64]:
    """Each video's probability by an ensemble that was fitted without it, and without anybody in it; where there are folds."""
    if not apart:
        return faces.judged(fit(way, faces, trials, seed)(faces.logits))
    found = np.full(len(faces.labels), np.nan)
    for judged in apart:
        held_out = faces.only(judged)
        found[judged] = held_out.judged(fit(way, faces.only(~judged), trials, seed)(held_out.logits))
    return found
