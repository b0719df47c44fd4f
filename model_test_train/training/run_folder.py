"""A training run's folder, data/runs/<network>_<dataset>_<key>: its log, and the state from which it can be resumed.

run.log       log messages, each with its time
config.yaml   the network and all settings
<network>_checkpoint<epoch>_<dataset>.safetensors   of the best and of the last epoch; `best` and `last` are links to them
events.…      for TensorBoard (see loggers.py)
state.pt      the complete state of the run, until it has ended
"""

import io
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import yaml

from explain_deepfakes.model_test_train.networks.checkpoint import Checkpoint, save_checkpoint
from explain_deepfakes.model_test_train.training.trainer import Run
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.outputs import write_bytes, write_text


class RunFolder:
    """Only the main process of a group writes and logs."""

    def __init__(self, path: Path, is_main: bool = True) -> None:
        self.path, self.is_main = path, is_main
        self.state = path / "state.pt"

    def log(self, message: str) -> None:
        """Print a message and append it to the run's log."""
        if self.is_main:
            print(message, flush=True)
            self.path.mkdir(parents=True, exist_ok=True)
            with (self.path / "run.log").open("a") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {message}\n")

    def write_config(self, config: Mapping[str, object]) -> None:
        if self.is_main:
            write_text(self.path / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False))

    def restore(self, run: Run) -> None:
        """Resume the run if there is a saved state."""
        if self.state.is_file():
            run.restore(torch.load(self.state, "cpu", weights_only=True))
            if not run.is_finite():
                raise UserError(f"{self.state} has weights that are not finite because training diverged; delete the file")
            self.log(f"resumed after epoch {run.epoch}, step {run.step}")

    def save(self, run: Run) -> None:
        """Save the state, unless its weights are not finite any more; the next step's loss reports that."""
        if self.is_main and run.is_finite():
            state = io.BytesIO()
            torch.save(run.state(), state)
            write_bytes(self.state, state.getvalue())

    def save_epoch(self, run: Run, make_card: Callable[[Run, int], Checkpoint]) -> None:
        """Save the checkpoint of the epoch that has just ended as the last, and as the best if it is."""
        if not self.is_main:
            return
        checkpoint = make_card(run, run.epoch)
        file = self.path / f"{checkpoint.name}.safetensors"
        save_checkpoint(file, run.averaged, checkpoint)
        for link in ("best", "last") if run.best_epoch == run.epoch else ("last",):
            self._link(self.path / f"{link}.safetensors", file)
        linked = {link.resolve() for link in self.path.glob("*.safetensors") if link.is_symlink()}
        for path in self.path.glob("*_checkpoint*.safetensors"):
            if path.resolve() not in linked:
                path.unlink()

    def close(self) -> None:
        """Delete the state, because training has ended."""
        if self.is_main:
            self.state.unlink(missing_ok=True)

    @staticmethod
    def _link(link: Path, file: Path) -> None:
        unfinished = link.with_name(f".{link.name}.{os.getpid()}.part")
        unfinished.symlink_to(file.name)
        os.replace(unfinished, link)
