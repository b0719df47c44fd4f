"""Judged videos -> the curves that one wants to see, as pictures and as tables for DVC's plots."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from model_test_train.evaluation.testing import LabelledScore, by_method, scores_of
from model_test_train.metrics.drawing import plt, save_figure
from model_test_train.metrics.intervals import Figure
from pipeline.outputs import write_csv

BINS = 10  # of calibration
BARS = 25  # of the histogram
LEAST_RATE = 1e-3  # where the logarithmic axis begins
REAL_COLOUR, FAKE_COLOUR = "#2a78b5", "#d1602b"  # told apart by the colour-blind too
TITLES = {"fontsize": 10}


def draw_all(
    folder: Path,
    judged: Sequence[LabelledScore],
    measured: Mapping[str, Any],
    protocol: Mapping[str, Any],
    raw: np.ndarray | None = None,
) -> None:
    """`raw` are the videos' probabilities before calibration, in the same order, or None."""
    curves = {"All": list(judged), **by_method(judged)}
    curves = {name: rows for name, rows in curves.items() if len({row.label for row in rows}) == 2}
    write_roc(folder / "roc.csv", curves)
    write_precision_recall(folder / "precision_recall.csv", curves)
    write_calibration(folder / "calibration.csv", judged)
    write_histogram(folder / "histogram.csv", judged)
    found = {"All": measured["video"], **measured["video_by_method"]}
    for name, draw in {
        "roc_curve": lambda figure: draw_roc(figure, curves, found),
        "precision_recall": lambda figure: draw_precision_recall(figure, curves, found),
        "confusion": lambda figure: draw_confusion(figure, judged),
        "calibration": lambda figure: draw_calibration(figure, judged, raw),
        "histogram": lambda figure: draw_histogram(figure, judged, protocol),
    }.items():
        _save(folder / f"{name}.png", draw, protocol)


def _save(path: Path, draw: Callable[[Any], None], protocol: Mapping[str, Any]) -> None:
    """With what the figures must be read with under it."""
    figure = plt.figure(layout="constrained")
    draw(figure)
    facts = f"{protocol['model']}, {protocol['split']}, {protocol['aggregation']}"
    colour = "firebrick" if protocol["warning"] else "0.35"
    figure.supxlabel("\n".join(filter(None, (facts, protocol["warning"]))), fontsize=7, color=colour)
    save_figure(path, figure)


def write_roc(path: Path, curves: Mapping[str, Sequence[LabelledScore]]) -> None:
    columns = ("method", "false_positive_rate", "true_positive_rate", "threshold")
    rows = []
    for method, judged in curves.items():
        false_positive, true_positive, thresholds = roc_curve(*_truth_and_probability(judged))
        rows += _rows(columns, method, false_positive, true_positive, np.minimum(thresholds, 1.0))  # the first one is infinite
    write_csv(path, columns, rows)


def write_precision_recall(path: Path, curves: Mapping[str, Sequence[LabelledScore]]) -> None:
    columns = ("method", "recall", "precision", "threshold")
    rows = []
    for method, judged in curves.items():
        precision, recall, thresholds = precision_recall_curve(*_truth_and_probability(judged))
        rows += _rows(columns, method, recall, precision, np.append(thresholds, 1.0))
    write_csv(path, columns, rows)


def write_calibration(path: Path, judged: Sequence[LabelledScore]) -> None:
    columns = ("probability", "share_of_fakes", "videos")
    write_csv(path, columns, (dict(zip(columns, row, strict=True)) for row in reliability(*_truth_and_probability(judged))))


def write_histogram(path: Path, judged: Sequence[LabelledScore]) -> None:
    columns = ("label", "from", "videos")
    labels, probabilities = _truth_and_probability(judged)
    rows = []
    for label, name in enumerate(("real", "fake")):
        counts, edges = np.histogram(probabilities[labels == label], BARS, (0, 1))
        rows += _rows(columns, name, edges[:-1].round(4), counts)
    write_csv(path, columns, rows)


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> list[tuple[float, float, int]]:
    """Of each bin that is not empty: the mean probability, the share of fakes, the number of videos."""
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    inside = [bins == place for place in range(BINS) if (bins == place).any()]
    return [(float(probabilities[here].mean()), float(labels[here].mean()), int(here.sum())) for here in inside]


def draw_roc(figure: Any, curves: Mapping[str, Sequence[LabelledScore]], found: Mapping[str, Any]) -> None:
    figure.set_size_inches(10.4, 5.4)
    for axes, scale in zip(figure.subplots(1, 2), ("linear", "log"), strict=True):
        chance = np.linspace(LEAST_RATE if scale == "log" else 0, 1, 200)
        axes.plot(chance, chance, color="0.75", linestyle=":", linewidth=1)
        for method, judged in curves.items():
            false_positive, true_positive, _ = roc_curve(*_truth_and_probability(judged))
            style = _style(method)
            axes.plot(false_positive, true_positive, label=f"{method}  {told(found[method]['auc'])}", **style)
        axes.set(xlabel="real videos called fake", ylabel="fake videos called fake", xscale=scale, ylim=(-0.01, 1.01))
        axes.set_xlim((LEAST_RATE, 1) if scale == "log" else (-0.01, 1.01))
        axes.set_title("ROC by video" + (", few false alarms enlarged" if scale == "log" else ""), **TITLES)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(loc="lower right", fontsize=8, title="AUC (95 % interval)", title_fontsize=8)


def draw_precision_recall(figure: Any, curves: Mapping[str, Sequence[LabelledScore]], found: Mapping[str, Any]) -> None:
    figure.set_size_inches(6.4, 6.0)
    axes = figure.subplots()
    for method, judged in curves.items():
        precision, recall, _ = precision_recall_curve(*_truth_and_probability(judged))
        axes.step(recall, precision, where="post", label=f"{method}  {told(found[method]['ap'])}", **_style(method))
    axes.set(xlabel="fake videos called fake (recall)", ylabel="of those called fake, really so (precision)")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    axes.set_title("Precision and recall by video", **TITLES)
    axes.legend(loc="lower left", fontsize=8, title="average precision (95 % interval)", title_fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def draw_confusion(figure: Any, judged: Sequence[LabelledScore]) -> None:
    """By method: of the originals and of each manipulation, how many were called what."""
    methods = ["originals", *by_method(judged)] if by_method(judged) else ["originals"]
    rows = [[one for one in judged if (one.method if one.label else "originals") == method] for method in methods]
    counts = np.array([[sum(one.called_fake == called for one in row) for called in (False, True)] for row in rows])
    figure.set_size_inches(4.6, 1.6 + 0.55 * len(methods))
    axes = figure.subplots()
    axes.imshow(counts / counts.sum(1, keepdims=True).clip(1), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        share = count / max(1, counts[row].sum())
        axes.text(column, row, f"{count}  ({share:.0%})", ha="center", va="center", color="white" if share > 0.6 else "black")
    axes.set(xticks=[0, 1], xticklabels=["real", "fake"], yticks=range(len(methods)), yticklabels=methods, xlabel="called")
    axes.set_title("Verdicts by video", **TITLES)


def draw_calibration(figure: Any, judged: Sequence[LabelledScore], raw: np.ndarray | None) -> None:
    figure.set_size_inches(6.0, 6.0)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.75", linestyle=":", linewidth=1)
    labels, probabilities = _truth_and_probability(judged)
    shown = {"before calibration": raw, "calibrated": probabilities} if raw is not None else {"as it is": probabilities}
    for (name, values), colour in zip(shown.items(), ("0.55", FAKE_COLOUR), strict=False):
        means, shares, counts = zip(*reliability(labels, values), strict=True)
        axes.plot(means, shares, color=colour, marker="o", markersize=4, label=name)
        for mean, share, count in zip(means, shares, counts, strict=True) if values is probabilities else ():
            axes.annotate(str(count), (mean, share), (4, -9), textcoords="offset points", fontsize=7, color=colour)
    axes.set(xlabel="fake probability", ylabel="videos that are fake", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_title("Calibration by video; the numbers count videos", **TITLES)
    axes.legend(fontsize=8, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)


def draw_histogram(figure: Any, judged: Sequence[LabelledScore], protocol: Mapping[str, Any]) -> None:
    figure.set_size_inches(7.2, 4.0)
    axes = figure.subplots()
    labels, probabilities = _truth_and_probability(judged)
    for label, name, colour in ((0, "real", REAL_COLOUR), (1, "fake", FAKE_COLOUR)):
        axes.hist(probabilities[labels == label], BARS, (0, 1), alpha=0.6, color=colour, label=name)
    axes.axvline(protocol["threshold"], color="black", linewidth=1, label=f"fake above {protocol['threshold']:.3f}")
    if protocol.get("uncertain_from_to"):
        axes.axvspan(*protocol["uncertain_from_to"], color="0.85", zorder=0, label="uncertain")
    axes.set(xlabel="fake probability", ylabel="videos", xlim=(0, 1))
    axes.set_title("What the videos got", **TITLES)
    axes.legend(fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def told(figure: Figure) -> str:
    value, low, high = ("–" if figure[key] is None else f"{figure[key]:.3f}" for key in ("value", "low", "high"))
    return value if figure["low"] is None else f"{value} ({low} to {high})"


def _style(method: str) -> dict[str, Any]:
    return {"linewidth": 2.6, "color": "black"} if method == "All" else {"linewidth": 1.4}


def _truth_and_probability(judged: Sequence[LabelledScore]) -> tuple[np.ndarray, np.ndarray]:
    scores = scores_of(judged)
    return scores.labels, scores.probabilities


def _rows(columns: Sequence[str], first: str, *values: Iterable[float]) -> list[dict[str, Any]]:
    return [dict(zip(columns, (first, *map(float, row)), strict=True)) for row in zip(*values, strict=True)]
