"""Matplotlib without a screen, and its figures as files."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from pipeline.outputs import atomic_write

__all__ = ["plt", "save_figure"]


def save_figure(path: Path, figure: Any) -> None:
    with atomic_write(path) as unfinished:
        figure.savefig(unfinished, dpi=110)
    plt.close(figure)
