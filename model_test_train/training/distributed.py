"""Distributed training: a group of processes trains one network, on a GPU each or sharing the CPU.

`train_model.py` starts the processes itself; under torchrun or SLURM, it joins those that were started. Each process trains on
its share of every batch; together they compute what one process would compute with the whole batch.
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
from typing import TypedDict, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.distributed.nn.functional import all_reduce
from torch.nn.functional import batch_norm

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.reproducible import choose_device

Item = TypeVar("Item")
PR_SET_PDEATHSIG = 1  # prctl option of Linux
EXIT_STOPPED = 75  # exit status of training that saved its state after SIGTERM; the same command resumes it


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together, as seen by one of them."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes files and logs."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Sum over all processes, with gradients to each of them."""
        return all_reduce(values) if self.size > 1 else values

    def wait(self) -> None:
        """Wait until all processes have arrived."""
        if self.size > 1:
            dist.barrier()

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's share of the items; `gather` puts the shares together again."""
        return items[self.rank :: self.size]

    def gather(self, share: list[Item]) -> list[Item]:
        if self.size == 1:
            return share
        shares: list[list[Item]] = [[] for _ in range(self.size)]
        dist.all_gather_object(shares, share)
        return [shares[index % self.size][index // self.size] for index in range(sum(map(len, shares)))]


SINGLE_PROCESS = ProcessGroup()


class SigtermFlag:
    """Whether any process of the group received SIGTERM; all processes get the same answer between the same two steps."""

    def __init__(self, group: ProcessGroup, device: torch.device) -> None:
        self.group, self.device, self.received = group, device, False
        signal.signal(signal.SIGTERM, self._receive)

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        self.received = True

    def is_set(self) -> bool:
        return bool(self.group.sum(torch.tensor(float(self.received), device=self.device)))


def process_count(devices: int, device: str) -> int:
    """How many processes to start; 0 if they were started already, or if this process trains by itself."""
    nodes = _nodes()
    if "RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", 1)) > nodes:
        return 0
    gpus = torch.cuda.device_count() if choose_device(device).type == "cuda" else 0
    if gpus and devices > gpus * nodes:
        raise UserError(f"train.devices is {devices}, but only {gpus * nodes} GPUs are available")
    count = devices or nodes * max(gpus, 1)
    if count % nodes:
        raise UserError(f"train.devices is {devices}; on {nodes} nodes it must be 0 or a multiple of {nodes}")
    return count if count > 1 else 0


def _nodes() -> int:
    """The number of nodes of this SLURM job, or of this step of it, on which to start processes."""
    return int(os.environ.get("SLURM_STEP_NUM_NODES") or os.environ.get("SLURM_JOB_NUM_NODES") or 1)


def start_processes(size: int, command: Sequence[str]) -> None:
    """Run the same command in `size` processes. If one of them fails, the others are stopped and the failure is reported."""
    if _nodes() > 1 and "SLURM_STEP_ID" not in os.environ:
        _start_on_nodes(command)
        return
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # failures are reported below
    config = LaunchConfig(_nodes(), _nodes(), size // _nodes(), **_rendezvous(), max_restarts=0, monitor_interval=1)
    try:
        elastic_launch(config, sys.executable)(*command)
    except SignalException:  # the processes received it too
        sys.exit(EXIT_STOPPED)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        code = failure.exitcode
        if code == EXIT_STOPPED:
            sys.exit(EXIT_STOPPED)
        outcome = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"failed with exit status {code}, see above"
        raise UserError(
            f"training process {rank + 1} of {size} {outcome}, and the others were stopped; "
            "run the same command again to resume from the last saved state"
        ) from None


def _start_on_nodes(command: Sequence[str]) -> None:
    """Run the same command once on each node of the job, where it starts that node's processes."""
    step = [
        "srun",
        "--ntasks-per-node=1",
        "--kill-on-bad-exit=1",
        f"--cpus-per-task={os.environ.get('SLURM_CPUS_PER_TASK', 1)}",
    ]
    signal.signal(signal.SIGTERM, _forward_sigterm)
    if status := subprocess.run([*step, sys.executable, *command], check=False, start_new_session=True).returncode:
        sys.exit(status)


def _forward_sigterm(_number: int, _frame: FrameType | None) -> None:
    """Signal tasks directly, because srun would SIGKILL them. If SLURM signalled them itself, scancel fails, so do not wait."""
    command = ["scancel", "--signal=TERM", os.environ["SLURM_JOB_ID"]]
    subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class _Rendezvous(TypedDict, total=False):
    """Arguments of torch's LaunchConfig."""

    run_id: str
    rdzv_backend: str
    rdzv_endpoint: str
    rdzv_configs: dict[str, bool]


def _rendezvous() -> _Rendezvous:
    """Where the processes of all nodes find each other: torchrun's rendezvous, on the first node."""
    if _nodes() == 1:
        return {"run_id": "training", "rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0"}
    return {
        "run_id": os.environ["SLURM_JOB_ID"],
        "rdzv_backend": "c10d",
        "rdzv_endpoint": f"{os.environ['SLURM_LAUNCH_NODE_IPADDR']}:{_port()}",
        "rdzv_configs": {"is_host": os.environ["SLURM_NODEID"] == "0"},
    }


def _port() -> int:
    """A port that depends on the job, because several jobs may share a node."""
    return 20_000 + int(os.environ.get("SLURM_JOB_ID", 0)) % 20_000


@contextmanager
def join_process_group(device: str) -> Iterator[tuple[ProcessGroup, torch.device]]:
    """Join the group that this process was started for, if any; yields the group and the device to use."""
    _set_torch_variables()
    chosen_device = choose_device(device)
    if "RANK" not in os.environ:
        yield SINGLE_PROCESS, chosen_device
        return
    with suppress(OSError, AttributeError):  # so that it does not outlive a killed parent
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if chosen_device.type == "cuda":
        chosen_device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen_device)
    dist.init_process_group("nccl" if chosen_device.type == "cuda" else "gloo")
    try:
        yield ProcessGroup(dist.get_rank(), dist.get_world_size()), chosen_device
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "Connection" in str(error):
            raise UserError("lost the connection to another training process, which has ended") from error
        raise
    finally:
        dist.destroy_process_group()


def _set_torch_variables() -> None:
    """Set the variables that torch reads from those that srun sets for its tasks."""
    if "RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", 1)) <= _nodes():
        return
    os.environ.setdefault("MASTER_ADDR", os.environ.get("SLURM_LAUNCH_NODE_IPADDR", "localhost"))
    os.environ.setdefault("MASTER_PORT", str(_port()))
    for name, slurm_name in (("RANK", "PROCID"), ("WORLD_SIZE", "NTASKS"), ("LOCAL_RANK", "LOCALID")):
        os.environ[name] = os.environ[f"SLURM_{slurm_name}"]


def synchronise_batch_norms(network: nn.Module, group: ProcessGroup) -> nn.Module:
    """Replace batch norms, if there are several processes, by norms over the whole group's pictures. Weight names stay."""
    if group.size > 1:
        for module in list(network.modules()):
            for name, submodule in module.named_children():
                if isinstance(submodule, nn.BatchNorm2d):
                    setattr(module, name, SyncedNorm(submodule, group))
    return network


class SyncedNorm(nn.Module):
    """A batch norm over the pictures of all processes. (torch's SyncBatchNorm works on GPUs only.)"""

    def __init__(self, norm: nn.BatchNorm2d, group: ProcessGroup) -> None:
        super().__init__()
        self.group, self.eps, self.momentum = group, norm.eps, norm.momentum or 0.0
        self.weight, self.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        self.after = nn.Sequential(*norm.children())  # timm's norms contain dropout and activation
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
        count = self.group.sum(torch.tensor(float(x.numel() / x.shape[1]), device=x.device))
        mean = self.group.sum(x.sum((0, 2, 3))) / count
        variance = self.group.sum((x - mean[:, None, None]).square().sum((0, 2, 3))) / count
        with torch.no_grad():
            running_mean.lerp_(mean, self.momentum)
            running_variance.lerp_(variance * count / (count - 1), self.momentum)
            self.get_buffer("num_batches_tracked").add_(1)
        return mean, variance
