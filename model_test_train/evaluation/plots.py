"""Plot scored videos: ROC, precision and recall, confusion, calibration and histogram, also as tables for DVC's plots."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from explain_deepfakes.model_test_train.evaluation.testing import (
    LabelledScore,
    MetricTable,
    ProtocolHeader,
    VideoMetrics,
    as_arrays,
    get_estimate,
    group_by_method,
)
from explain_deepfakes.model_test_train.metrics.drawing import plt, save_figure
from explain_deepfakes.model_test_train.metrics.intervals import format_estimate
from explain_deepfakes.pipeline.outputs import write_csv

CALIBRATION_BINS = 10
HISTOGRAM_BINS = 25
MIN_RATE = 1e-3  # start of the logarithmic axis
REAL_COLOUR, FAKE_COLOUR = "#2a78b5", "#d1602b"  # distinguishable with colour blindness
TITLE_SIZE = 10


class LineStyle(TypedDict, total=False):
    linewidth: float
    color: str


def write_plots(
    folder: Path,
    scores: Sequence[LabelledScore],
    metrics: VideoMetrics,
    protocol: ProtocolHeader,
    raw: np.ndarray | None = None,
    uncertain_band: Sequence[float] | None = None,
) -> None:
    """Write all plots and their tables. `raw` are the videos' probabilities before calibration, in the same order."""
    curves = {"All": list(scores), **group_by_method(scores)}
    curves = {name: rows for name, rows in curves.items() if len({row.label for row in rows}) == 2}
    write_roc(folder / "roc.csv", curves)
    write_precision_recall(folder / "precision_recall.csv", curves)
    write_calibration(folder / "calibration.csv", scores)
    write_histogram(folder / "histogram.csv", scores)
    tables = {"All": metrics["video"], **metrics["video_by_method"]}
    plots: dict[str, Callable[[Figure], None]] = {
        "roc_curve": lambda figure: draw_roc(figure, curves, tables),
        "precision_recall": lambda figure: draw_precision_recall(figure, curves, tables),
        "confusion": lambda figure: draw_confusion(figure, scores),
        "calibration": lambda figure: draw_calibration(figure, scores, raw),
        "histogram": lambda figure: draw_histogram(figure, scores, protocol["threshold"], uncertain_band),
    }
    for name, draw in plots.items():
        _save_plot(folder / f"{name}.png", draw, protocol)


def _save_plot(path: Path, draw: Callable[[Figure], None], protocol: ProtocolHeader) -> None:
    """Draw and save a plot, captioned with the conditions of the test and the network's warning."""
    figure = plt.figure(layout="constrained")
    draw(figure)
    caption = f"{protocol['model']}, {protocol['split']}, {protocol['aggregation']}"
    colour = "firebrick" if protocol["warning"] else "0.35"
    figure.supxlabel("\n".join(filter(None, (caption, protocol["warning"]))), fontsize=7, color=colour)
    save_figure(path, figure)


def write_roc(path: Path, curves: Mapping[str, Sequence[LabelledScore]]) -> None:
    columns = ("method", "false_positive_rate", "true_positive_rate", "threshold")
    rows = []
    for method, scores in curves.items():
        false_positive, true_positive, thresholds = roc_curve(*_labels_and_probabilities(scores))
        rows += _rows(columns, method, false_positive, true_positive, np.minimum(thresholds, 1.0))  # the first is infinite
    write_csv(path, columns, rows)


def write_precision_recall(path: Path, curves: Mapping[str, Sequence[LabelledScore]]) -> None:
    columns = ("method", "recall", "precision", "threshold")
    rows = []
    for method, scores in curves.items():
        precision, recall, thresholds = precision_recall_curve(*_labels_and_probabilities(scores))
        rows += _rows(columns, method, recall, precision, np.append(thresholds, 1.0))
    write_csv(path, columns, rows)


def write_calibration(path: Path, scores: Sequence[LabelledScore]) -> None:
    columns = ("probability", "share_of_fakes", "videos")
    bins = reliability(*_labels_and_probabilities(scores))
    write_csv(path, columns, (dict(zip(columns, row, strict=True)) for row in bins))


def write_histogram(path: Path, scores: Sequence[LabelledScore]) -> None:
    columns = ("label", "from", "videos")
    labels, probabilities = _labels_and_probabilities(scores)
    rows = []
    for label, name in enumerate(("real", "fake")):
        counts, edges = np.histogram(probabilities[labels == label], HISTOGRAM_BINS, (0, 1))
        rows += _rows(columns, name, edges[:-1].round(4), counts)
    write_csv(path, columns, rows)


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> list[tuple[float, float, int]]:
    """Mean probability, share of fakes and number of videos of each bin that is not empty."""
    bins = np.minimum((probabilities * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    members = [bins == number for number in range(CALIBRATION_BINS) if (bins == number).any()]
    return [(float(probabilities[inside].mean()), float(labels[inside].mean()), int(inside.sum())) for inside in members]


def draw_roc(figure: Figure, curves: Mapping[str, Sequence[LabelledScore]], tables: Mapping[str, MetricTable]) -> None:
    figure.set_size_inches(10.4, 5.4)
    for axes, scale in zip(figure.subplots(1, 2), ("linear", "log"), strict=True):
        chance = np.linspace(MIN_RATE if scale == "log" else 0, 1, 200)
        axes.plot(chance, chance, color="0.75", linestyle=":", linewidth=1)
        for method, scores in curves.items():
            false_positive, true_positive, _ = roc_curve(*_labels_and_probabilities(scores))
            label = f"{method}  {format_estimate(get_estimate(tables[method], 'auc'))}"
            axes.plot(false_positive, true_positive, label=label, **_line_style(method))
        axes.set(xlabel="real videos called fake", ylabel="fake videos called fake", xscale=scale, ylim=(-0.01, 1.01))
        axes.set_xlim((MIN_RATE, 1) if scale == "log" else (-0.01, 1.01))
        axes.set_title("ROC by video" + (", few false alarms enlarged" if scale == "log" else ""), fontsize=TITLE_SIZE)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(loc="lower right", fontsize=8, title="AUC (95 % interval)", title_fontsize=8)


def draw_precision_recall(
    figure: Figure, curves: Mapping[str, Sequence[LabelledScore]], tables: Mapping[str, MetricTable]
) -> None:
    figure.set_size_inches(6.4, 6.0)
    axes = figure.subplots()
    for method, scores in curves.items():
        precision, recall, _ = precision_recall_curve(*_labels_and_probabilities(scores))
        label = f"{method}  {format_estimate(get_estimate(tables[method], 'ap'))}"
        axes.step(recall, precision, where="post", label=label, **_line_style(method))
    axes.set(xlabel="share of fake videos called fake (recall)", ylabel="share of videos called fake that are fake (precision)")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    axes.set_title("Precision and recall by video", fontsize=TITLE_SIZE)
    axes.legend(loc="lower left", fontsize=8, title="average precision (95 % interval)", title_fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def draw_confusion(figure: Figure, scores: Sequence[LabelledScore]) -> None:
    """How many of the originals, and of each manipulation, were called real and fake."""
    methods = ["originals", *group_by_method(scores)]
    rows = [[score for score in scores if (score.method if score.label else "originals") == method] for method in methods]
    counts = np.array([[sum(score.called_fake == called for score in row) for called in (False, True)] for row in rows])
    figure.set_size_inches(4.6, 1.6 + 0.55 * len(methods))
    axes = figure.subplots()
    axes.imshow(counts / counts.sum(1, keepdims=True).clip(1), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        share = count / max(1, counts[row].sum())
        axes.text(column, row, f"{count}  ({share:.0%})", ha="center", va="center", color="white" if share > 0.6 else "black")
    axes.set(xticks=[0, 1], xticklabels=["real", "fake"], yticks=range(len(methods)), yticklabels=methods, xlabel="called")
    axes.set_title("Verdicts by video", fontsize=TITLE_SIZE)


def draw_calibration(figure: Figure, scores: Sequence[LabelledScore], raw: np.ndarray | None) -> None:
    figure.set_size_inches(6.0, 6.0)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.75", linestyle=":", linewidth=1)
    labels, probabilities = _labels_and_probabilities(scores)
    lines = {"before calibration": raw, "calibrated": probabilities} if raw is not None else {"uncalibrated": probabilities}
    for (name, values), colour in zip(lines.items(), ("0.55", FAKE_COLOUR), strict=False):
        means, shares, counts = zip(*reliability(labels, values), strict=True)
        axes.plot(means, shares, color=colour, marker="o", markersize=4, label=name)
        for mean, share, count in zip(means, shares, counts, strict=True) if values is probabilities else ():
            axes.annotate(str(count), (mean, share), (4, -9), textcoords="offset points", fontsize=7, color=colour)
    axes.set(xlabel="fake probability", ylabel="share of videos that are fake", aspect="equal")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_title("Calibration by video; numbers of videos beside the points", fontsize=TITLE_SIZE)
    axes.legend(fontsize=8, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)


def draw_histogram(
    figure: Figure, scores: Sequence[LabelledScore], threshold: float, uncertain_band: Sequence[float] | None
) -> None:
    figure.set_size_inches(7.2, 4.0)
    axes = figure.subplots()
    labels, probabilities = _labels_and_probabilities(scores)
    for label, name, colour in ((0, "real", REAL_COLOUR), (1, "fake", FAKE_COLOUR)):
        axes.hist(probabilities[labels == label], bins=HISTOGRAM_BINS, range=(0, 1), alpha=0.6, color=colour, label=name)
    axes.axvline(threshold, color="black", linewidth=1, label=f"fake above {threshold:.3f}")
    if uncertain_band:
        axes.axvspan(*uncertain_band, color="0.85", zorder=0, label="uncertain")
    axes.set(xlabel="fake probability", ylabel="videos", xlim=(0, 1))
    axes.set_title("Fake probabilities of the videos", fontsize=TITLE_SIZE)
    axes.legend(fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _line_style(method: str) -> LineStyle:
    return {"linewidth": 2.6, "color": "black"} if method == "All" else {"linewidth": 1.4}


def _labels_and_probabilities(scores: Sequence[LabelledScore]) -> tuple[np.ndarray, np.ndarray]:
    arrays = as_arrays(scores)
    return arrays.labels, arrays.probabilities


def _rows(columns: Sequence[str], first: str, *values: Iterable[float]) -> list[dict[str, str | float]]:
    return [dict(zip(columns, (first, *map(float, row)), strict=True)) for row in zip(*values, strict=True)]
