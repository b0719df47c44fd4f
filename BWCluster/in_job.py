"""What a job does on its node: runs a command, and tells where one looks how it ended, if that was not well.

SLURM sends SIGUSR1 to this process alone when the job's time is nearly over, and SIGTERM to all when somebody else needs the
node, or `scontrol requeue` or `scancel` was called. Training that was told saves its state and ends; it is then submitted anew
and goes on. Other work is ended: that it would need more time again and again is more likely than that it would not.
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

from pipeline.project import from_root

GOES_ON = "train"  # the kind of job that takes up from where it was within its work
TAIL = 20_000  # characters


class Watch:
    """A command in a process group of its own, and what happens to it."""

    def __init__(self, kind: str, log: Path) -> None:
        self.kind, self.log = kind, log
        self.name = f"{self.log.stem}, job {os.environ.get('SLURM_JOB_ID', '?')}"
        self.time_is_over = self.was_told = False
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, command: Sequence[str]) -> int:
        signal.signal(signal.SIGUSR1, self.end_in_time)
        signal.signal(signal.SIGTERM, self.note_told)
        before = states()
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
        words = passed_on(self.process)
        status = self.process.wait()
        with suppress(ProcessLookupError):  # a scancel that it left behind would tell the job's next run to end as well
            os.killpg(self.process.pid, signal.SIGKILL)
        if not status or self.was_told:  # by who requeues it, or cancelled it
            return status
        if not self.time_is_over:
            self.tell(f"{reason_of(words, status)}. More is in {self.log}")
        elif self.kind == GOES_ON and states() - before:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which requeueing sends
            say(f"{self.name}: its time is over; it is submitted anew, and goes on from its last state")
            return subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=False).returncode
        elif self.kind == GOES_ON:
            self.tell(
                "its time is over, and training saved no state, so that it would begin anew for ever; "
                f"raise {self.kind}.hours. It ended so: {reason_of(words, status)}"
            )
        return status or 1

    def end_in_time(self, _number: int, _frame: FrameType | None) -> None:
        self.time_is_over = True
        if self.kind != GOES_ON:
            self.tell(
                f"its time is over, and it is ended. What it has finished is kept: raise {self.kind}.hours in the cluster's "
                f"YAML (or --shards), or see in {self.log} what it is stuck at; then submit the same again"
            )
        if self.process:
            os.killpg(self.process.pid, signal.SIGTERM)

    def note_told(self, _number: int, _frame: FrameType | None) -> None:
        self.was_told = True  # so were all the others
        if self.time_is_over and self.kind == GOES_ON:
            self.tell("its time was over before training could save; raise seconds_to_end, and submit the same again")

    def tell(self, words: str) -> None:
        """In the log, and in the file that submission named."""
        line = f"{self.name} on {os.environ.get('SLURMD_NODENAME', socket.gethostname())}: {words}"
        say(line)
        try:
            with (self.log.parent / "failures.txt").open("a") as file:
                file.write(line + "\n")
        except OSError as error:
            say(f"failures.txt cannot be written: {error.strerror}")


def say(line: str) -> None:
    os.write(sys.stderr.fileno(), f"{line}\n".encode())  # print may not be called by a signal that comes amid a print


def states() -> set[tuple[Path, int]]:
    """Of training runs on disk, each with its time."""
    return {(path, path.stat().st_mtime_ns) for path in from_root("data/runs").glob("*/state.pt")}


def passed_on(process: subprocess.Popen[bytes]) -> str:
    """The end of what it, and whatever it started, wrote to stderr, when all of them have ended."""
    words = b""
    while part := os.read(process.stderr.fileno(), 65_536):  # type: ignore[union-attr]
        os.write(sys.stderr.fileno(), part)
        words = (words + part)[-TAIL:]
    return words.decode(errors="replace")


def reason_of(words: str, status: int) -> str:
    """In one line: the error that the project's command ended with, else the last that was said."""
    if status == -signal.SIGKILL:
        return "it was killed; most often memory ran out (memory_gb)"
    lines = [line.strip() for line in words.replace("\r", "\n").splitlines() if line.strip()]
    last = lines[-1] if lines else f"it ended with {status} and said nothing"
    return next((line for line in reversed(lines) if line.startswith("error: ")), last).removeprefix("error: ")


def missing_gpus(asked: int) -> str | None:
    """In words."""
    import torch  # takes seconds, and is needed only where there should be some

    found = torch.cuda.device_count()
    if found >= asked:
        return None
    return (
        f"it asked for {asked} GPU(s), and torch finds {found}: is the driver there (nvidia-smi), and torch built for it? "
        "gpus: 0 in the cluster's YAML does without"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs a command in a job.")
    parser.add_argument("--name", required=True)
    parser.add_argument("--kind", required=True)
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--logs", type=Path, required=True)
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    part, parts = os.environ.get("SLURM_ARRAY_TASK_ID"), os.environ.get("SLURM_ARRAY_TASK_COUNT")
    watch = Watch(given.kind, given.logs / (f"{given.name}-{part}-of-{parts}.log" if part else f"{given.name}.log"))
    missing = missing_gpus(given.gpus) if given.gpus else None
    if missing:
        watch.tell(missing)
    sys.exit(2 if missing else watch.run(given.command))


if __name__ == "__main__":
    main()
