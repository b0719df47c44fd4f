"""Where a training run can be watched while it runs: DVCLive's figures, which DVC compares, and TensorBoard's pictures.

DVCLive writes metrics.json and a table for each figure, plots/metrics/*.tsv, the same bytes for the same run. TensorBoard has
beside them the learning rate, histograms of weights and gradients, validation verdicts, and how busy the machine is.
"""

from pathlib import Path
from typing import Any

import psutil
import torch
from dvclive import Live
from sklearn.metrics import ConfusionMatrixDisplay
from torch.utils.tensorboard import SummaryWriter

from model_test_train.metrics.drawing import plt
from model_test_train.training.trainer import Run
from model_test_train.training.validation import Validation
from preprocessing.video.sampling import evenly_spaced

FACES, COLUMNS = 16, 8  # validation faces that are shown with their verdicts
MEGABYTE = 1 << 20
NAMES = ["real", "fake"]


class Watched:
    def __init__(self, output: Path, folder: Path, run: Run, tensorboard: bool) -> None:
        self.figures = EpochMetrics(output, run)
        self.board = TensorBoardLogger(folder, run) if tensorboard else None

    def note(self, run: Run, validation: Validation, pictures_a_second: float) -> None:
        """The epoch that has just ended."""
        self.figures.note(run)
        if self.board:
            self.board.note(run, validation, pictures_a_second)

    def close(self, run: Run) -> None:
        self.figures.close(run)
        if self.board:
            self.board.close()


class EpochMetrics:
    """DVCLive: what a run's history says, as DVC's metrics and plots."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.live = Live(str(folder), save_dvc_exp=False, dvcyaml=None)
        for row in run.history:  # of a run that goes on
            self._log(row)

    def note(self, run: Run) -> None:
        self._log(run.history[-1])
        self.live.sync()

    def close(self, run: Run) -> None:
        """The figures that stay are those of the best epoch."""
        self.live.summary = {"epochs": run.epoch, "best_epoch": run.best_epoch, **_figures(run.history[run.best_epoch - 1])}
        self.live.end()

    def _log(self, row: dict[str, float]) -> None:
        self.live.step = int(row["epoch"])
        for name, value in _figures(row).items():
            self.live.log_metric(name, value)


def _figures(row: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name != "epoch"}


class TensorBoardLogger:
    """TensorBoard: `tensorboard --logdir data/runs` shows it."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.writer = SummaryWriter(str(folder), purge_step=run.epoch + 1)  # what is done again is shown once
        psutil.cpu_percent()  # the next call gives the mean since this one

    def note(self, run: Run, validation: Validation, pictures_a_second: float) -> None:
        for name, value in _figures(run.history[-1]).items():
            self._scalar(name, value, run)
        self._scalar("learning_rate", float(run.schedule.get_last_lr()[0]), run)
        self._scalar("pictures_a_second", pictures_a_second, run)
        for name, load in machine_load().items():
            self._scalar(f"machine/{name}", load, run)
        for name, weight in run.network.named_parameters():
            self.writer.add_histogram(f"weights/{name}", weight.detach().cpu(), run.epoch)
            if weight.grad is not None:
                self.writer.add_histogram(f"gradients/{name}", weight.grad.cpu(), run.epoch)
        self._figure("validation/confusion", confusion(validation, run.history[-1]["threshold"]), run)
        self._figure("validation/faces", faces(validation), run)

    def close(self) -> None:
        self.writer.close()

    def _scalar(self, name: str, value: float, run: Run) -> None:
        self.writer.add_scalar(name, value, run.epoch)

    def _figure(self, name: str, figure: Any, run: Run) -> None:
        self.writer.add_figure(name, figure, run.epoch, close=True)


def confusion(validation: Validation, threshold: float) -> Any:
    figure, axes = plt.subplots(figsize=(4, 4), layout="constrained")
    called = validation.video_probabilities > threshold
    ConfusionMatrixDisplay.from_predictions(
        validation.video_labels, called, labels=[0, 1], display_labels=NAMES, ax=axes, cmap="Blues", colorbar=False
    )
    axes.set(title=f"validation videos, fake above {threshold:.3f}", xlabel="called", ylabel="is")
    return figure


def faces(validation: Validation) -> Any:
    """Some of the validation crops, with what the network makes of them; red where it errs at 0.5."""
    places = evenly_spaced(len(validation.samples), FACES)
    rows = -(-len(places) // COLUMNS)
    figure, grid = plt.subplots(rows, COLUMNS, figsize=(1.6 * COLUMNS, 1.9 * rows), layout="constrained", squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, place in zip(grid.flat, places, strict=False):
        label, probability = validation.labels[place], validation.probabilities[place]
        axes.imshow(validation.data.picture(place))
        axes.set_title(
            f"{NAMES[label]}: {probability:.2f}", fontsize=9, color="firebrick" if (probability > 0.5) != label else "black"
        )
    return figure


def machine_load() -> dict[str, float]:
    """Since the last call."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    load = {"processor_percent": psutil.cpu_percent(), "memory_mb": sum(map(_resident, processes)) / MEGABYTE}
    if torch.cuda.is_available():
        load["gpu_memory_mb"] = torch.cuda.max_memory_allocated() / MEGABYTE
        load["gpu_percent"] = torch.cuda.utilization()
    return load


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0
