"""Plots of an evaluation of heatmaps: where the peaks lie, removal curves, and the parameter randomisation test."""

from pathlib import Path

import numpy as np

from explain_deepfakes.explain_model.faithfulness.baselines import BASELINES
from explain_deepfakes.explain_model.faithfulness.removal import SHARES, Curves
from explain_deepfakes.explain_model.faithfulness.summary import EvaluationSummary, MapEstimates
from explain_deepfakes.model_test_train.metrics.drawing import plt, save_figure
from explain_deepfakes.model_test_train.metrics.intervals import Estimate

MAIN_COLOUR, OTHER_COLOUR, BASELINE_COLOUR = "#0b6e75", "#7fb3b8", "#b8b2a7"
CURVE_TITLES = {"deletion": "cells removed, hottest first", "insertion": "cells restored, hottest first"}
FILL_LABELS = {"blurred": "blur", "grained": "blur and noise"}
RANDOMISATION_LABELS = {"peak": "peak in the manipulated region", "likeness": "correlation with the original map"}


def to_label(name: str) -> str:
    return name.replace("_", " ")


def colour_of(name: str, main_map: str) -> str:
    return MAIN_COLOUR if name == main_map else BASELINE_COLOUR if name in BASELINES else OTHER_COLOUR


def draw_localisation(path: Path, summary: EvaluationSummary) -> None:
    """For each map, the share of peaks in the manipulated region, over all faces and for each manipulation."""
    panels: dict[str, tuple[int, MapEstimates]] = {
        "all manipulations": (summary["faces_with_mask"], summary["maps"]),
        **{name: (part["faces"], part["maps"]) for name, part in summary["by_manipulation"].items()},
    }
    panels = {title: panel for title, panel in panels.items() if any("peak" in metrics for metrics in panel[1].values())}
    count = max(1, len(panels))
    figure, axes = plt.subplots(1, count, figsize=(2 + 1.9 * count, 3.6), sharey=True, squeeze=False, layout="constrained")
    for axis, (title, (faces, maps)) in zip(axes[0], panels.items(), strict=False):
        names = list(maps)[::-1]
        estimates = [maps[name]["peak"] for name in names]
        values = np.array([estimate["value"] for estimate in estimates], float)
        errors = [_error_bar(estimate) for estimate in estimates]
        axis.barh([to_label(name) for name in names], values, color=[colour_of(name, summary["method"]) for name in names])
        axis.errorbar(values, np.arange(len(names)), xerr=np.array(errors).T, fmt="none", color="0.25", linewidth=1)
        for height, (value, (_, above)) in enumerate(zip(values, errors, strict=True)):
            axis.text(value + above + 0.04, height, f"{value:.0%}", fontsize=8, va="center")
        axis.set(xlim=(0, 1.3), xticks=[0, 0.5, 1], xticklabels=["0", "50 %", "100 %"])
        axis.set_title(f"{title}\n{faces} faces", fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    save_figure(path, figure)


def _error_bar(estimate: Estimate) -> tuple[float, float]:
    """Distances from the value to the ends of its interval; 0 without an interval."""
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    if value is None or low is None or high is None:
        return 0, 0
    return value - low, high - value


def draw_removal(path: Path, mean_curves: dict[str, Curves]) -> None:
    """The mean fake probability as cells are removed or restored, for each map."""
    kinds = list(next(iter(mean_curves.values()))) if mean_curves else []
    figure, axes = plt.subplots(
        1, max(1, len(kinds)), figsize=(3.1 * max(1, len(kinds)), 3.3), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, kind in zip(axes[0], kinds, strict=False):
        for number, (name, curves) in enumerate(mean_curves.items()):
            style = {"color": "0.55", "linestyle": (0, (2, 1 + number % 3))} if name in BASELINES else {}
            axis.plot(100 * SHARES, curves[kind], marker=".", markersize=4, linewidth=1.4, label=to_label(name), **style)
        action, fill = kind.split("_")
        axis.set_title(f"{CURVE_TITLES[action]}\n({FILL_LABELS[fill]})", fontsize=9)
        axis.set(xlabel="share of the cells, %", ylim=(0, 1.02))
        axis.spines[["top", "right"]].set_visible(False)
    if kinds:
        axes[0][0].set_ylabel("fake probability")
        axes[0][-1].legend(fontsize=7, loc="lower right")
    save_figure(path, figure)


def draw_randomisation(path: Path, summary: EvaluationSummary) -> None:
    """How the map degrades as more layers are shuffled."""
    layers = list(summary["shuffled"])
    figure, axis = plt.subplots(figsize=(6.2, 3.2), layout="constrained")
    for metric, label in RANDOMISATION_LABELS.items():
        known = [layer for layer in layers if metric in summary["shuffled"][layer]]
        values = [summary["shuffled"][layer][metric]["value"] for layer in known]
        axis.plot(known, values, marker="o", markersize=4, label=label)
    baseline = summary["maps"].get("random", {}).get("peak")
    if baseline and baseline["value"] is not None:
        axis.axhline(baseline["value"], color="0.6", linestyle=":", linewidth=1)
        axis.text(
            0.01,
            baseline["value"] + 0.02,
            "peak of a random map",
            fontsize=7,
            color="0.4",
            transform=axis.get_yaxis_transform(),
        )
    axis.set(ylim=(-0.1, 1.05), xlabel="last layer shuffled, starting from the logit")
    axis.set_xticks(range(len(layers)), [to_label(layer) for layer in layers], fontsize=8)
    if layers:
        axis.legend(fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    save_figure(path, figure)
