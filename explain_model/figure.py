"""The figure of a sample: the crop beside its heatmap, and over them what was judged and whether that was right."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no screen needed
import matplotlib.pyplot as plt
import numpy as np

from explain_model.samples import ExplainedSample

COLOURS = matplotlib.colormaps["inferno"]  # perceptually even, and safe for the colour-blind
TRUTH_COLOUR = "#33e6ff"  # of the manipulated region's outline; inferno has no such blue
OUTCOMES = {"TP": "fake, found", "TN": "real, left in peace", "FP": "real, wrongly accused", "FN": "fake, missed"}
RIGHT, WRONG = "#1a7f37", "#b3261e"


def overlaid(crop: np.ndarray, heat: np.ndarray, opacity: float) -> np.ndarray:
    """The crop under its heat; what is cold stays as it is."""
    share = (opacity * heat)[..., None]
    colours = 255 * COLOURS(heat)[..., :3]
    return np.rint((1 - share) * crop + share * colours).astype(np.uint8)


class SampleFigure:
    """One canvas for all samples: to set one up takes longer than to draw on it."""

    def __init__(self, opacity: float, warning: str | None) -> None:
        self.opacity = opacity
        self.figure, (self.left, self.right) = plt.subplots(1, 2, figsize=(5.2, 3.5))
        self.figure.subplots_adjust(left=0.02, right=0.9, bottom=0.07, top=0.8, wspace=0.04)
        scale = self.figure.add_axes((0.915, 0.07, 0.02, 0.73))
        bar = self.figure.colorbar(matplotlib.cm.ScalarMappable(cmap=COLOURS), cax=scale, ticks=[0, 0.25, 0.5, 0.75, 1])
        bar.ax.set_yticklabels(["0", "1×", "3×", "9×", "∞"], fontsize=7)  # times the fair share of relevancy
        self.title = self.figure.text(0.02, 0.93, "", fontsize=10, weight="bold")
        self.facts = self.figure.text(0.02, 0.85, "", fontsize=8)
        if warning:
            self.figure.text(0.02, 0.015, warning, fontsize=6.5, color="0.35")

    def draw(self, path: Path, sample: ExplainedSample, crop: np.ndarray, heat: np.ndarray, mask: np.ndarray | None) -> None:
        """Draws the sample and saves the figure as PNG."""
        for axes, picture in ((self.left, crop), (self.right, overlaid(crop, heat, self.opacity))):
            axes.clear()
            axes.set_axis_off()
            axes.imshow(picture, interpolation="lanczos")
        if mask is not None and mask.any() and not mask.all():
            self.right.contour(mask, levels=[0.5], colors=TRUTH_COLOUR, linewidths=1.2)
        label = "fake" if sample.video.label else "real"
        self.title.set_text(f"{sample.outcome}: {OUTCOMES[sample.outcome]}")
        self.title.set_color(RIGHT if sample.outcome[0] == "T" else WRONG)
        self.facts.set_text(
            f"{sample.video.video}, frame {sample.crop.frame}, person {sample.crop.track}   label: {label}\n"
            f"fake probability: video {sample.video_probability:.3f}, this frame {sample.frame_probability:.3f}"
        )
        self.figure.savefig(path, dpi=100, format="png")
