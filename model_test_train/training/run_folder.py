"""A training run's folder, data/runs/<network>_<dataset>_<key>: how it goes, and what a killed run goes on from.

run.log       what was said, each line with its time
config.yaml   the network and the settings, as they came together
<network>_checkpoint<epoch>_<dataset>.safetensors   of the best epoch and of the last one; `best` and `last` lead to them
events.…      for TensorBoard (see watching.py)
state.pt      all that the run knows, until it has ended
"""

import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

from model_test_train.networks.checkpoint import Checkpoint, save_checkpoint
from model_test_train.training.trainer import Run
from pipeline.errors import UserError
from pipeline.outputs import write_bytes, write_text


class RunFolder:
    """Of a team, only the one that leads writes and speaks."""

    def __init__(self, path: Path, is_main: bool = True) -> None:
        self.path, self.is_main = path, is_main
        self.state = path / "state.pt"

    def say(self, words: str) -> None:
        if self.is_main:
            print(words, flush=True)
            self.path.mkdir(parents=True, exist_ok=True)
            with (self.path / "run.log").open("a") as log:
                log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {words}\n")

    def write_config(self, config: dict[str, Any]) -> None:
        if self.is_main:
            write_text(self.path / "config.yaml", yaml.safe_dump(config, sort_keys=False))

    def restore(self, run: Run) -> None:
        """The run goes on where it was, if it has begun."""
        if self.state.is_file():
            run.restore(torch.load(self.state, "cpu", weights_only=True))
            if not run.is_finite():
                raise UserError(f"{self.state} holds weights that are not numbers, for training diverged; delete that file")
            self.say(f"goes on after epoch {run.epoch}, step {run.step}")

    def save(self, run: Run) -> None:
        """Weights that are no numbers any more are not: the loss of the step to come will tell."""
        if self.is_main and run.is_finite():
            state = io.BytesIO()
            torch.save(run.state(), state)
            write_bytes(self.state, state.getvalue())

    def keep(self, run: Run, checkpoint_of: Callable[[Run, int], Checkpoint]) -> None:
        """The network of the epoch that has just ended: it is the last, and maybe the best."""
        if not self.is_main:
            return
        checkpoint = checkpoint_of(run, run.epoch)
        file = self.path / f"{checkpoint.name}.safetensors"
        save_checkpoint(file, run.averaged, checkpoint)
        for link in ("best", "last") if run.best_epoch == run.epoch else ("last",):
            self._point(self.path / f"{link}.safetensors", file)
        named = {link.resolve() for link in self.path.glob("*.safetensors") if link.is_symlink()}
        for older in self.path.glob("*_checkpoint*.safetensors"):
            if older.resolve() not in named:
                older.unlink()

    def close(self) -> None:
        """It has ended well."""
        if self.is_main:
            self.state.unlink(missing_ok=True)

    @staticmethod
    def _point(link: Path, file: Path) -> None:
        atomic_write = link.with_name(f".{link.name}.{os.getpid()}.part")
        atomic_write.symlink_to(file.name)
        os.replace(atomic_write, link)
