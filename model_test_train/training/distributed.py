"""Processes that train one network together, a GPU each, or sharing the processor: who they are and what they tell each other.

`train_model.py` starts them itself; under torchrun or SLURM it joins those that were started. Each learns from its share of a
batch, and together they do what one process would do with the whole of it.
"""

import ctypes
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.distributed.nn.functional import all_reduce
from torch.nn.functional import batch_norm

from pipeline.errors import UserError
from pipeline.reproducible import choose_device

Item = TypeVar("Item")
DIE_WITH_PARENT = 1  # Linux's number of the request
STOPPED = 75  # exit status of training that was told to end (SIGTERM), and saved: the same command goes on


@dataclass(frozen=True)
class ProcessGroup:
    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
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


ALONE = ProcessGroup()


class SigtermFlag:
    """Whether a member of the team was told to end (SIGTERM). All of them hear of it between the same two steps."""

    def __init__(self, team: ProcessGroup, device: torch.device) -> None:
        self.team, self.device, self.heard = team, device, False
        signal.signal(signal.SIGTERM, self._hear)

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self.heard = True

    def has_come(self) -> bool:
        return bool(self.team.sum(torch.tensor(float(self.heard), device=self.device)))


def process_count(devices: int, device: str) -> int:
    """How many processes are to train together and are to be started yet: none if they are, or if one does it alone."""
    nodes = _nodes()
    if "RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", 1)) > nodes:
        return 0
    gpus = torch.cuda.device_count() if choose_device(device).type == "cuda" else 0
    if gpus and devices > gpus * nodes:
        raise UserError(f"train.devices is {devices}, but there are {gpus * nodes} GPUs here")
    wanted = devices or nodes * max(gpus, 1)
    if wanted % nodes:
        raise UserError(f"train.devices is {devices}; on {nodes} nodes it must be 0 or a multiple of {nodes}")
    return wanted if wanted > 1 else 0


def _nodes() -> int:
    """Of the SLURM job that this is, or of the step of it: those on which processes are to be started."""
    return int(os.environ.get("SLURM_STEP_NUM_NODES") or os.environ.get("SLURM_JOB_NUM_NODES") or 1)


def start_processes(size: int, command: Sequence[str]) -> None:
    """The same command in each of the processes. If one of them ends badly, so do the others, and it is said."""
    if _nodes() > 1 and "SLURM_STEP_ID" not in os.environ:
        _start_on_nodes(command)
        return
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # we say it ourselves
    config = LaunchConfig(_nodes(), _nodes(), size // _nodes(), **_meeting(), max_restarts=0, monitor_interval=1)
    try:
        elastic_launch(config, sys.executable)(*command)
    except SignalException:  # they were told as well
        sys.exit(STOPPED)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        code = failure.exitcode
        if code == STOPPED:
            sys.exit(STOPPED)
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed (exit status {code}), as told above"
        raise UserError(
            f"process {rank + 1} of the {size} that train together {how}, and the others were ended too; "
            "the same command goes on from the last state that was saved"
        ) from None


def _start_on_nodes(command: Sequence[str]) -> None:
    """The same command once on each node of the job; there, each starts its part of the team."""
    step = [
        "srun",
        "--ntasks-per-node=1",
        "--kill-on-bad-exit=1",
        f"--cpus-per-task={os.environ.get('SLURM_CPUS_PER_TASK', 1)}",
    ]
    signal.signal(signal.SIGTERM, _tell_nodes)
    if status := subprocess.run([*step, sys.executable, *command], check=False, start_new_session=True).returncode:
        sys.exit(status)


def _tell_nodes(_number: int, _frame: FrameType | None) -> None:
    """Past srun, which would kill them at once. Where SLURM told them itself, scancel tries on in vain: nobody waits for it."""
    tell = ["scancel", "--signal=TERM", os.environ["SLURM_JOB_ID"]]
    subprocess.Popen(tell, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _meeting() -> dict[str, Any]:
    """Where the processes of all nodes find each other: torchrun's rendezvous, at the first of several nodes."""
    if _nodes() == 1:
        return {"run_id": "training", "rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0"}
    return {
        "run_id": os.environ["SLURM_JOB_ID"],
        "rdzv_backend": "c10d",
        "rdzv_endpoint": f"{os.environ['SLURM_LAUNCH_NODE_IPADDR']}:{_port()}",
        "rdzv_configs": {"is_host": os.environ["SLURM_NODEID"] == "0"},
    }


def _port() -> int:
    """Another one for each job, since several may share a node."""
    return 20_000 + int(os.environ.get("SLURM_JOB_ID", 0)) % 20_000


@contextmanager
def joined(device: str) -> Iterator[tuple[ProcessGroup, torch.device]]:
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
        yield ProcessGroup(dist.get_rank(), dist.get_world_size()), place
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "Connection" in str(error):
            raise UserError("another process that trains the same network is gone") from error
        raise
    finally:
        dist.destroy_process_group()


def _read_slurm() -> None:
    """What srun tells its tasks, in the words that torch knows."""
    if "RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", 1)) <= _nodes():
        return
    os.environ.setdefault("MASTER_ADDR", os.environ.get("SLURM_LAUNCH_NODE_IPADDR", "localhost"))
    os.environ.setdefault("MASTER_PORT", str(_port()))
    for ours, theirs in (("RANK", "PROCID"), ("WORLD_SIZE", "NTASKS"), ("LOCAL_RANK", "LOCALID")):
        os.environ[ours] = os.environ[f"SLURM_{theirs}"]


def with_synced_norms(network: nn.Module, team: ProcessGroup) -> nn.Module:
    """Batch norms count the pictures of the whole team. The names of the weights stay."""
    if team.size > 1:
        for parent in list(network.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(parent, name, SyncedNorm(child, team))
    return network


class SyncedNorm(nn.Module):
    """A batch norm over all members' pictures. (torch's own does so on GPUs only.)"""

    def __init__(self, norm: nn.BatchNorm2d, team: ProcessGroup) -> None:
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
