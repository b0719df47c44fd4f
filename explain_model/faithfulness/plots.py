"""The pictures of an evaluation of explanations: where the peaks lie, what removal does, how maps fall apart."""

from pathlib import Path
from typing import Any

import numpy as np

from explain_model.faithfulness.baselines import FLOORS
from explain_model.faithfulness.removal import SHARES
from model_test_train.metrics.drawing import plt, save_figure

OURS, OTHERS, KNOW_NOTHING = "#0b6e75", "#7fb3b8", "#b8b2a7"
LINES = {"deletion": "places taken away, hottest first", "insertion": "places put back, hottest first"}


def told(name: str) -> str:
    return name.replace("_", " ")


def colour_of(name: str, ours: str) -> str:
    return OURS if name == ours else KNOW_NOTHING if name in FLOORS else OTHERS


def draw_localisation(path: Path, table: dict[str, Any]) -> None:
    """Of each map, how often its peak lies in the changed region, over all and for each manipulation."""
    panels = {"all manipulations": table} | table["by_manipulation"]
    panels = {title: panel for title, panel in panels.items() if any("peak" in f for f in panel["maps"].values())}
    count = max(1, len(panels))
    figure, axes = plt.subplots(1, count, figsize=(2 + 1.9 * count, 3.6), sharey=True, squeeze=False, layout="constrained")
    for axis, (title, panel) in zip(axes[0], panels.items(), strict=False):
        names = list(panel["maps"])[::-1]
        figures = [panel["maps"][name]["peak"] for name in names]
        values = np.array([one["value"] for one in figures])
        known = [one["low"] is not None for one in figures]
        reach = [[v - o["low"], o["high"] - v] if k else [0, 0] for v, o, k in zip(values, figures, known, strict=True)]
        axis.barh([told(name) for name in names], values, color=[colour_of(name, table["method"]) for name in names])
        axis.errorbar(values, np.arange(len(names)), xerr=np.array(reach).T, fmt="none", color="0.25", linewidth=1)
        for height, (value, (_, above)) in enumerate(zip(values, reach, strict=True)):
            axis.text(value + above + 0.04, height, f"{value:.0%}", fontsize=8, va="center")
        axis.set(xlim=(0, 1.3), xticks=[0, 0.5, 1], xticklabels=["0", "50 %", "100 %"])
        axis.set_title(f"{title}\n{panel.get('faces_with_mask', panel['faces'])} faces", fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    save_figure(path, figure)


def draw_removal(path: Path, curves: dict[str, dict[str, np.ndarray]]) -> None:
    """The mean probability of the verdict, as places are taken away or put back."""
    kinds = list(next(iter(curves.values()))) if curves else []
    figure, axes = plt.subplots(
        1, max(1, len(kinds)), figsize=(3.1 * max(1, len(kinds)), 3.3), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, kind in zip(axes[0], kinds, strict=False):
        for number, (name, of_map) in enumerate(curves.items()):
            style = {"color": "0.55", "linestyle": (0, (2, 1 + number % 3))} if name in FLOORS else {}
            axis.plot(100 * SHARES, of_map[kind], marker=".", markersize=4, linewidth=1.4, label=told(name), **style)
        what, fill = kind.split("_")
        axis.set_title(f"{LINES[what]}\n({fill})", fontsize=9)
        axis.set(xlabel="share of the places, %", ylim=(0, 1.02))
        axis.spines[["top", "right"]].set_visible(False)
    if kinds:
        axes[0][0].set_ylabel("probability of the verdict")
        axes[0][-1].legend(fontsize=7, loc="lower right")
    save_figure(path, figure)


def draw_randomised(path: Path, table: dict[str, Any]) -> None:
    """What becomes of the map as ever more of the network is shuffled."""
    steps = list(table["shuffled"])
    figure, axis = plt.subplots(figsize=(6.2, 3.2), layout="constrained")
    for what, words in {"peak": "peak in the changed region", "likeness": "correlation with the true map"}.items():
        known = [step for step in steps if what in table["shuffled"][step]]
        axis.plot(known, [table["shuffled"][step][what]["value"] for step in known], marker="o", markersize=4, label=words)
    floor = table["maps"].get("random", {}).get("peak")
    if floor:
        axis.axhline(floor["value"], color="0.6", linestyle=":", linewidth=1)
        axis.text(
            0.01, floor["value"] + 0.02, "a random map's peak", fontsize=7, color="0.4", transform=axis.get_yaxis_transform()
        )
    axis.set(ylim=(-0.1, 1.05), xlabel="shuffled, from the verdict down to there")
    axis.set_xticks(range(len(steps)), [told(step) for step in steps], fontsize=8)
    if steps:
        axis.legend(fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    save_figure(path, figure)
