"""Processes that train one network together, a GPU each, or sharing the processor: who they are and what they tell each other.

`train_model.py` starts them itself; under torchrun or SLURM it joins those that were started. Each learns from its share of a
batch, and together they do what one process would do with the whole of it.
"""

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.distributed.nn.functional import all_reduce
from torch.nn.functional import batch_norm

from pipeline.errors import UserError
from pipeline.reproducible import choose_device

Item = TypeVar("Item")
DIE_WITH_PARENT = 1  # Linux's number of the request


@dataclass(frozen=True)
class Team:
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whoever does it alone writes files and speaks."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Over all members; gradients go back to each of them."""
        return all_reduce(values) if self.size > 1 else values

    def wait(self) -> None:
        """Until all members are here."""
        if self.size > 1:
            dist.barrier()

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This member's; `gather` brings them together again."""
        return items[self.rank :: self.size]

    def gather(self, share: list[Item]) -> list[Item]:
        if self.size == 1:
            return share
        shares: list[Any] = [None] * self.size
        dist.all_gather_object(shares, share)
        together: list[Any] = [None] * sum(map(len, shares))
        for rank, items in enumerate(shares):
            together[rank :: self.size] = items
        return together


ALONE = Team()


def team_wanted(devices: int, device: str) -> int:
    """How many processes this one is to start: none if it is one of them already, or does it alone."""
    if "RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", 1)) > 1:
        return 0
    gpus = torch.cuda.device_count() if choose_device(device).type == "cuda" else 0
    if gpus and devices > gpus:
        raise UserError(f"train.devices is {devices}, but there are {gpus} GPUs here")
    wanted = devices or gpus
    return wanted if wanted > 1 else 0


def start_team(size: int, command: Sequence[str]) -> None:
    """The same command in each of the processes. If one of them ends badly, so do the others, and it is said."""
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # we say it ourselves
    meeting = {"run_id": "training", "rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0"}
    config = LaunchConfig(1, 1, size, **meeting, max_restarts=0, monitor_interval=1)  # type: ignore[arg-type]
    try:
        elastic_launch(config, sys.executable)(*command)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        code = failure.exitcode
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed (exit status {code}), as told above"
        raise UserError(
            f"process {rank + 1} of the {size} that train together {how}, and the others were ended too; "
            "the same command goes on from the last state that was saved"
        ) from None


@contextmanager
def joined(device: str) -> Iterator[tuple[Team, torch.device]]:
    """The team that this process was started for, or itself alone; and the device that it is to use."""
    _read_slurm()
    place = choose_device(device)
    if "RANK" not in os.environ:
        yield ALONE, place
        return
    with suppress(OSError, AttributeError):  # else it would go on alone when its parent is killed
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    if place.type == "cuda":
        place = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Team(dist.get_rank(), dist.get_world_size()), place
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "Connection" in str(error):
            raise UserError("another process that trains the same network is gone") from error
        raise
    finally:
        dist.destroy_process_group()


def _read_slurm() -> None:
    """What srun tells its tasks, in the words that torch knows."""
    if "RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", 1)) < 2:
        return
    os.environ.setdefault("MASTER_ADDR", os.environ.get("SLURM_LAUNCH_NODE_IPADDR", "localhost"))
    os.environ.setdefault("MASTER_PORT", str(20_000 + int(os.environ.get("SLURM_JOB_ID", 0)) % 20_000))
    for ours, theirs in (("RANK", "PROCID"), ("WORLD_SIZE", "NTASKS"), ("LOCAL_RANK", "LOCALID")):
        os.environ[ours] = os.environ[f"SLURM_{theirs}"]


def with_synced_norms(network: nn.Module, team: Team) -> nn.Module:
    """Batch norms count the pictures of the whole team. The names of the weights stay."""
    if team.size > 1:
        for parent in list(network.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(parent, name, SyncedNorm(child, team))
    return network


class SyncedNorm(nn.Module):
    """A batch norm over all members' pictures. (torch's own does so on GPUs only.)"""

    def __init__(self, norm: nn.BatchNorm2d, team: Team) -> None:
        super().__init__()
        self.team, self.eps, self.momentum = team, norm.eps, norm.momentum or 0.0
        self.weight, self.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        self.after = nn.Sequential(*norm.children())  # timm's norms hold what follows them: dropout and activation
        self.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = self.get_buffer("running_mean"), self.get_buffer("running_var")
        if self.training:
            mean, variance = self._statistics(x.float(), mean, variance)
            scale = self.weight * (variance + self.eps).rsqrt()
            shift = self.bias - mean * scale
            return self.after((x * scale[:, None, None] + shift[:, None, None]).to(x.dtype))
        return self.after(batch_norm(x, mean, variance, self.weight, self.bias, eps=self.eps))

    def _statistics(self, x: Tensor, running_mean: Tensor, running_variance: Tensor) -> tuple[Tensor, Tensor]:
        count = self.team.sum(torch.tensor(float(x.numel() / x.shape[1]), device=x.device))
        mean = self.team.sum(x.sum((0, 2, 3))) / count
        variance = self.team.sum((x - mean[:, None, None]).square().sum((0, 2, 3))) / count
        with torch.no_grad():
            running_mean.lerp_(mean, self.momentum)
            running_variance.lerp_(variance * count / (count - 1), self.momentum)
            self.get_buffer("num_batches_tracked").add_(1)
        return mean, variance
