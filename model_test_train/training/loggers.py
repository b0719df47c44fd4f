"""Log a training run while it runs: metrics to DVCLive, which DVC compares, and more to TensorBoard.

DVCLive writes metrics.json and a table for each metric, plots/metrics/*.tsv; the same run writes the same bytes. TensorBoard
also gets the learning rate, histograms of weights and gradients, validation verdicts, and the load of the machine.
"""

from pathlib import Path

import psutil
import torch
from dvclive import Live
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay
from torch.utils.tensorboard import SummaryWriter

from explain_deepfakes.model_test_train.metrics.drawing import plt
from explain_deepfakes.model_test_train.training.trainer import Run
from explain_deepfakes.model_test_train.training.validation import ValidationResult
from explain_deepfakes.preprocessing.video.sampling import evenly_spaced

FACES, COLUMNS = 16, 8  # validation faces that are plotted with their verdicts
MEGABYTE = 1 << 20
NAMES = ["real", "fake"]


class RunLogger:
    """Logs to DVCLive and, if wanted, to TensorBoard."""

    def __init__(self, output: Path, folder: Path, run: Run, tensorboard: bool) -> None:
        self.metrics = EpochMetrics(output, run)
        self.tensorboard = TensorBoardLogger(folder, run) if tensorboard else None

    def log_epoch(self, run: Run, validation: ValidationResult, pictures_per_second: float) -> None:
        """Log the epoch that has just ended."""
        self.metrics.log_epoch(run)
        if self.tensorboard:
            self.tensorboard.log_epoch(run, validation, pictures_per_second)

    def close(self, run: Run) -> None:
        self.metrics.close(run)
        if self.tensorboard:
            self.tensorboard.close()


class EpochMetrics:
    """Writes a run's history as DVC metrics and plots, by DVCLive."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.live = Live(str(folder), save_dvc_exp=False, dvcyaml=None)
        for row in run.history:  # not empty if the run was resumed
            self._log(row)

    def log_epoch(self, run: Run) -> None:
        self._log(run.history[-1])
        self.live.sync()

    def close(self, run: Run) -> None:
        """Write the final metrics, which are those of the best epoch."""
        self.live.summary = {"epochs": run.epoch, "best_epoch": run.best_epoch, **_metrics(run.history[run.best_epoch - 1])}
        self.live.end()

    def _log(self, row: dict[str, float]) -> None:
        self.live.step = int(row["epoch"])
        for name, value in _metrics(row).items():
            self.live.log_metric(name, value)


def _metrics(row: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name != "epoch"}


class TensorBoardLogger:
    """Writes events for TensorBoard; show them with `tensorboard --logdir data/runs`."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.writer = SummaryWriter(str(folder), purge_step=run.epoch + 1)  # steps repeated after resuming are shown once
        psutil.cpu_percent()  # the next call gives the mean since this one

    def log_epoch(self, run: Run, validation: ValidationResult, pictures_per_second: float) -> None:
        for name, value in _metrics(run.history[-1]).items():
            self._add_scalar(name, value, run)
        self._add_scalar("learning_rate", float(run.schedule.get_last_lr()[0]), run)
        self._add_scalar("pictures_a_second", pictures_per_second, run)
        for name, load in machine_load().items():
            self._add_scalar(f"machine/{name}", load, run)
        for name, weight in run.network.named_parameters():
            self.writer.add_histogram(f"weights/{name}", weight.detach().cpu(), run.epoch)
            if weight.grad is not None:
                self.writer.add_histogram(f"gradients/{name}", weight.grad.cpu(), run.epoch)
        self._add_figure("validation/confusion", plot_confusion(validation, run.history[-1]["threshold"]), run)
        self._add_figure("validation/faces", plot_faces(validation), run)

    def close(self) -> None:
        self.writer.close()

    def _add_scalar(self, name: str, value: float, run: Run) -> None:
        self.writer.add_scalar(name, value, run.epoch)

    def _add_figure(self, name: str, figure: Figure, run: Run) -> None:
        self.writer.add_figure(name, figure, run.epoch, close=True)


def plot_confusion(validation: ValidationResult, threshold: float) -> Figure:
    figure, axes = plt.subplots(figsize=(4, 4), layout="constrained")
    called = validation.video_probabilities > threshold
    ConfusionMatrixDisplay.from_predictions(
        validation.video_labels, called, labels=[0, 1], display_labels=NAMES, ax=axes, cmap="Blues", colorbar=False
    )
    axes.set(title=f"validation videos, fake above {threshold:.3f}", xlabel="called", ylabel="is")
    return figure


def plot_faces(validation: ValidationResult) -> Figure:
    """Plot some validation crops with their fake probabilities, in red if they are wrong at a threshold of 0.5."""
    indices = evenly_spaced(len(validation.samples), FACES)
    rows = -(-len(indices) // COLUMNS)
    figure, grid = plt.subplots(rows, COLUMNS, figsize=(1.6 * COLUMNS, 1.9 * rows), layout="constrained", squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, index in zip(grid.flat, indices, strict=False):
        label, probability = validation.labels[index], validation.probabilities[index]
        axes.imshow(validation.data.picture(index))
        axes.set_title(
            f"{NAMES[label]}: {probability:.2f}", fontsize=9, color="firebrick" if (probability > 0.5) != label else "black"
        )
    return figure


def machine_load() -> dict[str, float]:
    """Load of the machine since the last call."""
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
