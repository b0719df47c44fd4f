"""The ROC of the videos, as points for DVC's plots and as a picture with a curve a method."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no screen needed
import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_curve

from model_test_train.verdicts import Verdict
from pipeline.outputs import aside, write_csv

ROC_COLUMNS = ("method", "false_positive_rate", "true_positive_rate", "threshold")


def roc_curves(verdicts: list[Verdict]) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Method -> false and true positive rates and thresholds, each against all originals; `All` comes first."""
    judged = [verdict for verdict in verdicts if verdict.fake_probability is not None]
    methods = sorted({verdict.video.method for verdict in judged if verdict.video.label})
    curves = {}
    for method in ["All", *methods]:
        chosen = [v for v in judged if not v.video.label or method in ("All", v.video.method)]
        labels = np.array([verdict.video.label for verdict in chosen])
        if len(np.unique(labels)) == 2:
            curves[method] = roc_curve(labels, [verdict.fake_probability for verdict in chosen])
    return curves


def write_roc(path: Path, verdicts: list[Verdict]) -> None:
    rows = (
        (method, float(false_positive), float(true_positive), min(float(threshold), 1.0))  # the first one is infinite
        for method, curve in roc_curves(verdicts).items()
        for false_positive, true_positive, threshold in zip(*curve, strict=True)
    )
    write_csv(path, ROC_COLUMNS, (dict(zip(ROC_COLUMNS, row, strict=True)) for row in rows))


def draw_roc(path: Path, verdicts: list[Verdict], measured: dict[str, Any], protocol: dict[str, Any]) -> None:
    figure, axes = plt.subplots(figsize=(6.4, 6.4), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.75", linestyle=":", linewidth=1)
    for method, (false_positive, true_positive, _) in roc_curves(verdicts).items():
        found = measured["video"] if method == "All" else measured["video_by_method"][method]
        label = f"{method}  {_auc(found['auc'])}"
        width, color = (2.6, "black") if method == "All" else (1.4, None)
        axes.plot(false_positive, true_positive, label=label, linewidth=width, color=color)
    axes.set(
        xlabel="real videos called fake",
        ylabel="fake videos called fake",
        aspect="equal",
        xlim=(-0.01, 1.01),
        ylim=(-0.01, 1.01),
    )
    axes.set_title(f"ROC by video, {protocol['split']}, {protocol['model']}", fontsize=10)
    axes.legend(loc="lower right", fontsize=8, title="AUC (95 % interval)", title_fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    if protocol["warning"]:
        figure.supxlabel(protocol["warning"], fontsize=8, color="firebrick")
    with aside(path) as unfinished:
        figure.savefig(unfinished, dpi=110)
    plt.close(figure)


def _auc(figure: dict[str, float | None]) -> str:
    if figure["low"] is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
