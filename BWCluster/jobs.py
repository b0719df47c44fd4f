"""Submits the project's work as SLURM jobs; train_model.sh and its siblings call it. See docs/cluster.md.

python BWCluster/jobs.py preprocess|train|test|explain|repro [--cluster FILE] [--shards N] [--dry-run] [flags of the command]
"""

import argparse
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from BWCluster.slurm.cluster import Job, read_cluster, script_of, submit
from pipeline.errors import UserError, run
from pipeline.project import CODE, relative, root

COMMANDS = {
    "preprocess": "preprocessing/preprocess.py",
    "train": "model_test_train/train_model.py",
    "test": "model_test_train/test_model.py",
    "explain": "explain_model/explain_model.py",
}
DVC = "BWCluster/dvc_in_job.py"  # as `dvc`, but it survives being told to end, and unlocks


def jobs_of(what: str, shards: int, flags: Sequence[str]) -> list[Job]:
    """In the order in which they are submitted."""
    if what == "repro":
        return whole_dag(shards)
    here, command = Path.cwd(), python(COMMANDS[what], *flags)  # paths among the flags are relative to where one stands
    if what == "preprocess":
        return [shard(shards, command, here), Job("merge", "merge", command, after="shard", folder=here)]
    return [Job(what, what, command, folder=here)]


def whole_dag(shards: int) -> list[Job]:
    """One after the other, for DVC works on one stage at a time; only the shards, which it doesn't see, are side by side."""
    return [
        Job("index", "index", dvc("index_videos")),
        shard(shards, python(COMMANDS["preprocess"], "--replace"), None, after="index"),
        Job("merge", "merge", dvc("extract_crops"), after="shard"),
        Job("train", "train", dvc("train"), after="merge"),
        Job("test", "test", dvc("test"), after="train"),
        Job("explain", "explain", dvc("explain", "explain_videos", "evaluate_explanations"), after="test"),
        Job("report", "report", dvc(), after="explain"),
    ]


def shard(shards: int, command: str, folder: Path | None, after: str | None = None) -> Job:
    return Job("shard", "shard", f'{command} --shard "$SLURM_ARRAY_TASK_ID/{shards}"', after, shards, folder)


def dvc(*stages: str) -> str:
    return python(DVC, "repro", *stages)


def python(script: str, *words: str) -> str:
    return shlex.join(["python", str(CODE / script), *words])


def show(jobs: Sequence[Job], numbers: dict[str, str], logs: Path) -> None:
    for job in jobs:
        after = f"after {numbers[job.after]}" if job.after else ""
        number = f"{numbers[job.name]}_[1-{job.shards}]" if job.shards else numbers[job.name]
        print(f"{job.name:8} job {number:14} {after:14} {relative(logs / job.log.replace('%a', '*'))}")
    failures = relative(logs / "failures.txt")
    print(f"If one fails, those after it are cancelled, and {failures} says which and why. `squeue --me` shows them.")


def main() -> None:
    parser = argparse.ArgumentParser(description="Submits the project's work as SLURM jobs.", allow_abbrev=False)
    parser.add_argument("what", choices=(*COMMANDS, "repro"))
    parser.add_argument("--cluster", type=Path, default=Path(__file__).parent / "cluster.yaml", help="what jobs ask for")
    parser.add_argument("--shards", type=int, default=4, help="jobs that the videos are shared out to (default: 4)")
    parser.add_argument("--dry-run", action="store_true", help="print the jobs instead")
    given, flags = parser.parse_known_args()
    if given.shards < 1:
        raise UserError(f"--shards is {given.shards}; the least it can be is 1")
    if given.what == "repro" and flags:
        raise UserError(f"repro takes its settings from params.yaml, and no {flags[0]}")
    if given.what == "preprocess" and any(flag.split("=")[0] == "--shard" for flag in flags):
        raise UserError("--shard is each job's own; --shards says how many there are")
    cluster, jobs = read_cluster(given.cluster), jobs_of(given.what, given.shards, flags)
    logs = root() / "logs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{given.what}"
    if given.dry_run:
        for job in jobs:
            print(f"# {job.name}" + (f", after {job.after}" if job.after else ""))
            print(script_of(job, cluster, logs))
        return
    show(jobs, submit(jobs, cluster, logs), logs)


if __name__ == "__main__":
    run(main)
