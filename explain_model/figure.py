"""The figures of a sample: the crop beside its heatmaps, and over them what was judged and whether that was right.

Of a fake whose original is at hand, also the two side by side.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no screen needed
import matplotlib.pyplot as plt
import numpy as np

from explain_model.heatmaps import Heat
from explain_model.samples import ExplainedSample
from pipeline.outputs import aside

COLOURS = matplotlib.colormaps["inferno"]  # perceptually even, and safe for the colour-blind
TRUTH_COLOUR = "#33e6ff"  # of the manipulated region's outline; inferno has no such blue
SCALE = {0: "0", 0.25: "1×", 0.5: "3×", 0.75: "9×", 1: "∞"}  # heat, in times the fair share of relevancy
OUTCOMES = {"TP": "fake, found", "TN": "real, left in peace", "FP": "real, wrongly accused", "FN": "fake, missed"}
RIGHT, WRONG = "#1a7f37", "#b3261e"


def overlaid(crop: np.ndarray, heat: np.ndarray, opacity: float) -> np.ndarray:
    """The crop under its heat; what is cold stays as it is."""
    share = (opacity * heat)[..., None]
    colours = 255 * COLOURS(heat)[..., :3]
    return np.rint((1 - share) * crop + share * colours).astype(np.uint8)


class Panels:
    """One canvas for all figures of a kind: to set one up takes longer than to draw on it."""

    def __init__(self, titles: Sequence[str], opacity: float, warning: str | None) -> None:
        self.opacity = opacity
        count = len(titles)
        self.figure, self.axes = plt.subplots(1, count, figsize=(2.42 * count + 0.35, 3.62))
        right = 1 - 0.52 / (2.42 * count + 0.35)
        self.figure.subplots_adjust(left=0.015, right=right, bottom=0.06, top=0.74, wspace=0.03)
        scale = self.figure.add_axes((right + 0.012, 0.06, 0.015, 0.68))
        bar = self.figure.colorbar(matplotlib.cm.ScalarMappable(cmap=COLOURS), cax=scale, ticks=list(SCALE))
        bar.ax.set_yticklabels(list(SCALE.values()), fontsize=7)
        self.title = self.figure.text(0.015, 0.94, "", fontsize=10, weight="bold")
        self.facts = self.figure.text(0.015, 0.835, "", fontsize=8)
        for axes, title in zip(self.axes, titles, strict=True):
            box = axes.get_position()
            self.figure.text(box.x0, 0.765, title, fontsize=8, color="0.25")
        if warning:
            self.figure.text(0.015, 0.015, warning, fontsize=6.5, color="0.35")

    def show(self, number: int, picture: np.ndarray, mask: np.ndarray | None = None) -> None:
        axes = self.axes[number]
        axes.clear()
        axes.set_axis_off()
        axes.imshow(picture, interpolation="lanczos")
        if mask is not None and mask.any() and not mask.all():
            axes.contour(mask, levels=[0.5], colors=TRUTH_COLOUR, linewidths=1.2)

    def tell(self, sample: ExplainedSample, facts: str) -> None:
        self.title.set_text(f"{sample.outcome}: {OUTCOMES[sample.outcome]}")
        self.title.set_color(RIGHT if sample.outcome[0] == "T" else WRONG)
        self.facts.set_text(facts)

    def save(self, path: Path) -> None:
        with aside(path) as unfinished:
            self.figure.savefig(unfinished, dpi=100, format="png")


class SampleFigure:
    """The crop, what spoke for its verdict, what spoke against it."""

    def __init__(self, opacity: float, warning: str | None) -> None:
        self.panels = Panels(("the face", "what spoke for the verdict", "what spoke against it"), opacity, warning)

    def draw(self, path: Path, sample: ExplainedSample, crop: np.ndarray, heat: Heat, mask: np.ndarray | None) -> None:
        panels = self.panels
        panels.show(0, crop)
        panels.show(1, overlaid(crop, heat.spoke_for, panels.opacity), mask)
        panels.show(2, overlaid(crop, heat.spoke_against, panels.opacity))
        label = "fake" if sample.video.label else "real"
        panels.tell(
            sample,
            f"{sample.video.video}, frame {sample.crop.frame}, person {sample.crop.track}   label: {label}\n"
            f"fake probability: video {sample.video_probability:.3f}, this frame {sample.frame_probability:.3f}",
        )
        panels.save(path)


class PairFigure:
    """An original and its fake, each with what spoke for fake."""

    def __init__(self, opacity: float, warning: str | None) -> None:
        self.panels = Panels(
            ("the original", "what speaks for fake in it", "the fake", "what speaks for fake in it"), opacity, warning
        )

    def draw(
        self,
        path: Path,
        sample: ExplainedSample,
        faces: tuple[np.ndarray, np.ndarray],
        heats: tuple[np.ndarray, np.ndarray],
        mask: np.ndarray | None,
    ) -> None:
        """Face and heat of the original, and of the fake."""
        for place, (face, heat) in enumerate(zip(faces, heats, strict=True)):
            self.panels.show(2 * place, face)
            self.panels.show(2 * place + 1, overlaid(face, heat, self.panels.opacity), mask if place else None)
        self.panels.tell(sample, f"{sample.video.video}, frame {sample.crop.frame}, beside the original's nearest frame")
        self.panels.save(path)
