"""Submit the stages as SLURM jobs. Called by train_model.sh and the other scripts of this folder; see docs/cluster.md.

python BWCluster/jobs.py preprocess|train|test|explain|repro [--cluster FILE] [--shards N] [--dry-run] [flags of the command]
"""

import argparse
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from explain_deepfakes.BWCluster.slurm.cluster import SlurmJob, job_script, read_cluster, submit
from explain_deepfakes.pipeline.errors import UserError, run
from explain_deepfakes.pipeline.project import CODE, relative, root

COMMANDS = {
    "preprocess": "preprocessing/preprocess.py",
    "train": "model_test_train/train_model.py",
    "test": "model_test_train/test_model.py",
    "explain": "explain_model/explain_model.py",
}
DVC = "BWCluster/dvc_in_job.py"  # `dvc` that unlocks the project on SIGTERM


def plan_jobs(command: str, shards: int, flags: Sequence[str]) -> list[SlurmJob]:
    """Return the jobs of a command in the order of submission."""
    if command == "repro":
        return plan_dag(shards)
    folder, shell_command = Path.cwd(), python(COMMANDS[command], *flags)  # paths in flags are relative to the current folder
    if command == "preprocess":
        merge = SlurmJob("merge", "merge", shell_command, after="shard", folder=folder)
        return [shard_jobs(shards, shell_command, folder), merge]
    return [SlurmJob(command, command, shell_command, folder=folder)]


def plan_dag(shards: int) -> list[SlurmJob]:
    """Return the jobs of the DAG. DVC runs one stage at a time, so the jobs run one after another, except shards."""
    return [
        SlurmJob("index", "index", dvc("index_videos")),
        shard_jobs(shards, python(COMMANDS["preprocess"], "--replace"), None, after="index"),
        SlurmJob("merge", "merge", dvc("extract_crops"), after="shard"),
        SlurmJob("train", "train", dvc("train"), after="merge"),
        SlurmJob("test", "test", dvc("test"), after="train"),
        SlurmJob("explain", "explain", dvc("explain", "explain_videos", "evaluate_explanations"), after="test"),
        SlurmJob("report", "report", dvc(), after="explain"),
    ]


def shard_jobs(shards: int, command: str, folder: Path | None, after: str | None = None) -> SlurmJob:
    """Return a job array with a job for each shard of the videos."""
    return SlurmJob("shard", "shard", f'{command} --shard "$SLURM_ARRAY_TASK_ID/{shards}"', after, shards, folder)


def dvc(*stages: str) -> str:
    return python(DVC, "repro", *stages)


def python(script: str, *arguments: str) -> str:
    return shlex.join(["python", str(CODE / script), *arguments])


def print_jobs(jobs: Sequence[SlurmJob], numbers: dict[str, str], logs: Path) -> None:
    for job in jobs:
        after = f"after {numbers[job.after]}" if job.after else ""
        number = f"{numbers[job.name]}_[1-{job.shards}]" if job.shards else numbers[job.name]
        print(f"{job.name:8} job {number:14} {after:14} {relative(logs / job.log.replace('%a', '*'))}")
    failures = relative(logs / "failures.txt")
    print(f"If a job fails, later jobs are cancelled, and the reason is in {failures}. `squeue --me` lists the jobs.")


def main() -> None:
    parser = argparse.ArgumentParser(description="Submit the stages as SLURM jobs.", allow_abbrev=False)
    parser.add_argument("command", metavar="what", choices=(*COMMANDS, "repro"), help="what to run: %(choices)s")
    parser.add_argument(
        "--cluster", type=Path, default=Path(__file__).parent / "cluster.yaml", help="YAML with the resources of the jobs"
    )
    parser.add_argument("--shards", type=int, default=4, help="number of parallel preprocessing jobs (default: 4)")
    parser.add_argument("--dry-run", action="store_true", help="print the job scripts without submitting them")
    args, flags = parser.parse_known_args()
    if args.shards < 1:
        raise UserError(f"--shards is {args.shards}; the minimum is 1")
    if args.command == "repro" and flags:
        raise UserError(f"repro reads its settings from params.yaml and does not accept {flags[0]}")
    if args.command == "preprocess" and any(flag.split("=")[0] == "--shard" for flag in flags):
        raise UserError("--shard is set for each job automatically; set the number of jobs with --shards")
    cluster, jobs = read_cluster(args.cluster), plan_jobs(args.command, args.shards, flags)
    logs = root() / "logs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{args.command}"
    if args.dry_run:
        for job in jobs:
            print(f"# {job.name}" + (f", after {job.after}" if job.after else ""))
            print(job_script(job, cluster, logs))
        return
    print_jobs(jobs, submit(jobs, cluster, logs), logs)


if __name__ == "__main__":
    run(main)
