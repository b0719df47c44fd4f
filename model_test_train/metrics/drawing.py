"""Matplotlib without a display, and saving of figures."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from explain_deepfakes.pipeline.outputs import atomic_write

__all__ = ["plt", "save_figure"]

plt.rcParams["text.parse_math"] = False  # file names may contain dollar signs


def save_figure(path: Path, figure: Figure) -> None:
    with atomic_write(path) as unfinished:
        figure.savefig(unfinished, dpi=110)
    plt.close(figure)
