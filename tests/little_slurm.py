"""A SLURM cluster of a few simulated nodes on this machine, with its own munge, folder and ports."""

import ctypes
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from explain_deepfakes.model_test_train.training.distributed import PR_SET_PDEATHSIG

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch")
os.environ["PATH"] += ":/usr/sbin"  # where Debian installs the daemons, which is not in every user's PATH
is_installed = all(map(shutil.which, NEEDED))
NODES = ("n1", "n2")
SECONDS_TO_START = 60

CONFIG = """
ClusterName=little
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
SlurmdParameters=config_overrides
GresTypes=gpu
KillWait=60
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]},{ports[2]} CPUs=8 RealMemory=64000
NodeName=with_gpu NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[3]} CPUs=8 RealMemory=64000 Gres=gpu:1
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=1:00:00 State=UP
PartitionName=gpus Nodes=with_gpu MaxTime=1:00:00 State=UP
"""


@contextmanager
def little_slurm(folder: Path) -> Iterator[None]:
    """Run the cluster; within the context, sbatch and the other commands use it."""
    folder.chmod(0o755)
    (folder / "state").mkdir()
    host, user = socket.gethostname().split(".")[0], getpass.getuser()
    config = CONFIG.format(host=host, user=user, folder=folder, ports=free_ports(4))
    (folder / "slurm.conf").write_text(config)
    # A GPU for SLURM, which torch does not see.
    (folder / "gres.conf").write_text("NodeName=with_gpu Name=gpu File=/dev/null\n")
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    munge_files = {
        "key-file": key,
        "socket": folder / "munge.socket",
        "seed-file": folder / "seed",
        "pid-file": folder / "munge.pid",
    }
    with ExitStack() as daemons:
        daemons.callback(os.environ.pop, "SLURM_CONF")
        for command in (
            ["munged", "--foreground", "--force", *(f"--{name}={path}" for name, path in munge_files.items())],
            ["slurmctld", "-D"],
            *(["slurmd", "-D", "-N", node] for node in (*NODES, "with_gpu")),
        ):
            daemons.enter_context(daemon(command, folder))
            wait_until(lambda: (folder / "munge.socket").exists(), "munged has not started")
        wait_until(
            lambda: command_output("sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * 3,
            f"SLURM has not started; see {folder}",
        )
        daemons.callback(end_all_jobs)
        yield


@contextmanager
def daemon(command: list[str], folder: Path) -> Iterator[None]:
    with (folder / f"{command[0]}{command[-1]}.log".replace("/", "_")[-60:]).open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, preexec_fn=end_with_parent, start_new_session=True
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def end_with_parent() -> None:
    """Have the kernel end the daemon if the tests are killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def end_all_jobs() -> None:
    """Cancel all jobs and kill their processes, which are not children of the daemons."""
    command_output("scancel", "--user", getpass.getuser())
    command_output("scancel", "--signal=KILL", "--full", "--user", getpass.getuser())
    wait_until(lambda: not command_output("squeue", "-h"), "jobs do not end")


def command_output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def wait_until(condition: Callable[[], object], message: str, seconds: float = SECONDS_TO_START) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(message)
        time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for sock in sockets:
        sock.bind(("127.0.0.1", 0))
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports
