"""Run a command in a SLURM job, and report its failure in the job's log and in failures.txt.

SLURM sends SIGUSR1 only to this process, shortly before the time limit. It sends SIGTERM to all processes on preemption,
`scontrol requeue` or `scancel`. On SIGUSR1, training saves its state and ends; the job is then requeued and resumes. Other
commands are terminated and not requeued, because they would probably reach the time limit again and again.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from explain_deepfakes.pipeline.project import from_root

RESUMABLE_KIND = "train"  # the kind of job that saves its state and is requeued at the time limit
TAIL_BYTES = 20_000  # of stderr, kept to find the reason of a failure


class JobRunner:
    """Runs a command in a process group of its own, handles the signals of SLURM, and reports failures."""

    def __init__(self, kind: str, log: Path) -> None:
        self.kind, self.log = kind, log
        self.name = f"{self.log.stem}, job {os.environ.get('SLURM_JOB_ID', '?')}"
        self.reached_time_limit = self.was_terminated = False
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, command: Sequence[str]) -> int:
        signal.signal(signal.SIGUSR1, self.on_time_limit)
        signal.signal(signal.SIGTERM, self.on_sigterm)
        states_before = training_states()
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
        stderr = forward_stderr(self.process)
        status = self.process.wait()
        with suppress(ProcessLookupError):  # a `scancel` left running would also signal the requeued job
            os.killpg(self.process.pid, signal.SIGKILL)
        if not status or self.was_terminated:  # whoever requeued or cancelled the job knows why it ended
            return status
        if not self.reached_time_limit:
            self.report(f"{failure_reason(stderr, status)}. More is in {self.log}")
        elif self.kind == RESUMABLE_KIND and training_states() - states_before:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent by the requeue
            write_line(f"{self.name}: time limit reached; the job is requeued, and resumes from its last saved state")
            return subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=False).returncode
        elif self.kind == RESUMABLE_KIND:
            self.report(
                "time limit reached, and training had not saved a state, so a requeued job would start from the beginning; "
                f"raise {self.kind}.hours. It ended with: {failure_reason(stderr, status)}"
            )
        return status or 1

    def on_time_limit(self, _number: int, _frame: FrameType | None) -> None:
        self.reached_time_limit = True
        if self.kind != RESUMABLE_KIND:
            self.report(
                f"time limit reached, terminating. Finished work is kept: raise {self.kind}.hours in the cluster YAML "
                f"(or --shards), or find in {self.log} where it hangs; then submit the same command again"
            )
        if self.process:
            os.killpg(self.process.pid, signal.SIGTERM)

    def on_sigterm(self, _number: int, _frame: FrameType | None) -> None:
        self.was_terminated = True  # and so were all other processes of the job
        if self.reached_time_limit and self.kind == RESUMABLE_KIND:
            self.report("time limit reached before training could save its state; raise seconds_to_end, and submit again")

    def report(self, reason: str) -> None:
        """Write the reason of a failure to the log and to failures.txt."""
        line = f"{self.name} on {os.environ.get('SLURMD_NODENAME', socket.gethostname())}: {reason}"
        write_line(line)
        try:
            with (self.log.parent / "failures.txt").open("a") as file:
                file.write(line + "\n")
        except OSError as error:
            write_line(f"cannot write failures.txt: {error.strerror}")


def write_line(line: str) -> None:
    os.write(sys.stderr.fileno(), f"{line}\n".encode())  # print is not safe in a signal handler that interrupts a print


def training_states() -> set[tuple[Path, int]]:
    """Return the saved states of training runs, each with its modification time."""
    return {(path, path.stat().st_mtime_ns) for path in from_root("data/runs").glob("*/state.pt")}


def forward_stderr(process: subprocess.Popen[bytes]) -> str:
    """Copy the stderr of the process and its children until all of them have ended, and return the last part of it."""
    tail = b""
    while chunk := os.read(process.stderr.fileno(), 65_536):  # type: ignore[union-attr]
        os.write(sys.stderr.fileno(), chunk)
        tail = (tail + chunk)[-TAIL_BYTES:]
    return tail.decode(errors="replace")


def failure_reason(stderr: str, status: int) -> str:
    """Return one line: the error message of the project's command, or else the last line of its output."""
    if status == -signal.SIGKILL:
        return "killed; most often memory ran out (memory_gb)"
    lines = [line.strip() for line in stderr.replace("\r", "\n").splitlines() if line.strip()]
    last_line = lines[-1] if lines else f"exit status {status}, without an error message"
    return next((line for line in reversed(lines) if line.startswith("error: ")), last_line).removeprefix("error: ")


def missing_gpus(requested: int) -> str | None:
    """Return an error message if torch does not find the requested number of GPUs."""
    import torch  # the import takes seconds, and is needed only for jobs with GPUs

    available = torch.cuda.device_count()
    if available >= requested:
        return None
    return (
        f"the job requested {requested} GPU(s), but torch finds {available}: check the driver (nvidia-smi) and that torch "
        "is a CUDA build, or set gpus: 0 in the cluster YAML to run without a GPU"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a command in a SLURM job.")
    parser.add_argument("--name", required=True, help="name of the job, for its log")
    parser.add_argument("--kind", required=True, help="section of the cluster YAML")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs that torch must find (default: 0)")
    parser.add_argument("--logs", type=Path, required=True, help="folder of the logs and of failures.txt")
    parser.add_argument("command", nargs="+", help="the command to run")
    args = parser.parse_args()
    shard, shards = os.environ.get("SLURM_ARRAY_TASK_ID"), os.environ.get("SLURM_ARRAY_TASK_COUNT")
    runner = JobRunner(args.kind, args.logs / (f"{args.name}-{shard}-of-{shards}.log" if shard else f"{args.name}.log"))
    message = missing_gpus(args.gpus) if args.gpus else None
    if message:
        runner.report(message)
    sys.exit(2 if message else runner.run(args.command))


if __name__ == "__main__":
    main()
