"""The resources of each kind of job, read from a YAML file, and the job scripts for SLURM."""

import dataclasses
import math
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.params import build_settings, read_yaml, setting
from explain_deepfakes.pipeline.project import CODE, root

KINDS = ("index", "shard", "merge", "train", "test", "explain", "report")
IN_JOB = "BWCluster/in_job.py"
NO_SLURM = (
    "there is no {} on the PATH; run this on a login node, after the `module load` that it needs, or add --dry-run to only "
    "print the job scripts"
)


@dataclass(frozen=True)
class Resources:
    """A section of the YAML file."""

    partition: str | None = setting("null: the default of the cluster")
    account: str | None = setting("null: the default of the user")
    hours: float = setting("time limit", low=0)
    cpus: int = setting("on each node", low=1)
    memory_gb: int = setting("on each node", low=1)
    gpus: int = setting("on each node", low=0)
    nodes: int = setting("number of nodes", low=1)
    seconds_to_end: int = setting("from the signal to the time limit", low=1)
    options: tuple[str, ...] = setting("further options of sbatch")


@dataclass(frozen=True)
class Cluster:
    path: Path
    setup: tuple[str, ...]
    jobs: dict[str, Resources]


@dataclass(frozen=True)
class SlurmJob:
    name: str
    kind: str
    command: str  # in shell syntax
    after: str | None = None  # name of the job that must succeed first
    shards: int = 0  # size of the job array; 0: a single job
    folder: Path | None = None  # None: the project folder

    @property
    def log(self) -> str:
        return f"{self.name}-%a-of-{self.shards}.log" if self.shards else f"{self.name}.log"


def read_cluster(path: Path) -> Cluster:
    """Read the YAML file. Keys that a section leaves out have the values of the section `all`."""
    values = read_yaml(path)
    unknown = sorted(values.keys() - {"all", "setup", *KINDS})
    if unknown:
        raise UserError(f"{path.name}: {unknown[0]} is not a section; available: all, setup, {', '.join(KINDS)}")
    for name in ("all", *(kind for kind in KINDS if values.get(kind))):
        if not isinstance(values.get(name), dict):
            raise UserError(f"{path.name}: {name} must contain 'key: value' lines")
    setup = values.get("setup") or []
    if not isinstance(setup, list) or not all(isinstance(line, str) for line in setup):
        raise UserError(f"{path.name}: setup must be a list of shell commands")
    shared = dict(values["all"])
    all_jobs = build_settings(Resources, shared, f"{path.name}: all")
    jobs = {}
    for kind in KINDS:
        own = build_settings(Resources, {**shared, **(values.get(kind) or {})}, f"{path.name}: {kind}")
        added = all_jobs.options if own.options != all_jobs.options else ()  # those of a section are added to those of all
        jobs[kind] = dataclasses.replace(own, options=(*added, *own.options))
    return Cluster(path, tuple(setup), jobs)


def job_script(job: SlurmJob, cluster: Cluster, logs: Path) -> str:
    """Return the script to submit with sbatch."""
    resources = cluster.jobs[job.kind]
    runner = ["python", CODE / IN_JOB, "--name", job.name, "--kind", job.kind, "--gpus", resources.gpus, "--logs", logs]
    lines = [
        "#!/usr/bin/env bash",
        *(f"#SBATCH {shlex.quote(option)}" for option in _options(job, resources, logs)),
        *cluster.setup,
        f"cd {shlex.quote(str(job.folder or root()))} || exit",
        *_activation(CODE / ".venv/bin/activate"),
        f"exec {shlex.join(map(str, runner))} -- {job.command}",
    ]
    return "\n".join(lines) + "\n"


def _activation(venv: Path) -> list[str]:
    return [f". {shlex.quote(str(venv))}"] if venv.is_file() else []


def _options(job: SlurmJob, resources: Resources, logs: Path) -> list[str]:
    options: dict[str, object] = {
        "job-name": job.name,
        "output": logs / job.log,
        "open-mode": "append",  # a requeued job continues its log
        "array": f"1-{job.shards}" if job.shards else None,
        "partition": resources.partition,
        "account": resources.account,
        "time": math.ceil(60 * resources.hours),  # minutes
        "nodes": resources.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": resources.cpus,
        "mem": f"{resources.memory_gb}G",
        "gres": f"gpu:{resources.gpus}" if resources.gpus else None,
        "signal": f"B:USR1@{resources.seconds_to_end}",  # only to in_job.py, which signals the others
    }
    lines = [f"--{name}={value}" for name, value in options.items() if value is not None] + ["--requeue", *resources.options]
    for line in lines:
        if not line.isprintable():  # a line break would end the comment, and begin a command
            raise UserError(f"cluster.yaml: {line!r} of {job.kind} contains a line break or another control character")
    return lines


def submit(jobs: Sequence[SlurmJob], cluster: Cluster, logs: Path) -> dict[str, str]:
    """Submit all jobs, or none if one is rejected, and return their numbers by name."""
    numbers: dict[str, str] = {}
    logs.mkdir(parents=True)
    try:
        for job in jobs:
            (logs / f"{job.name}.sh").write_text(job_script(job, cluster, logs))
            dependency = [f"--dependency=afterok:{numbers[job.after]}", "--kill-on-invalid-dep=yes"] if job.after else []
            sbatch = slurm("sbatch", "--parsable", *dependency, str(logs / f"{job.name}.sh"))
            if sbatch.returncode:
                raise UserError(rejection_message(job, cluster, sbatch.stderr))
            numbers[job.name] = sbatch.stdout.strip().split(";")[0]  # with several clusters, ";name" follows
    except UserError:
        if numbers:
            slurm("scancel", *numbers.values())
        raise
    return numbers


def rejection_message(job: SlurmJob, cluster: Cluster, stderr: str) -> str:
    """Explain why sbatch rejects the job, what the cluster offers, and which setting to change."""
    resources, section = cluster.jobs[job.kind], f"{cluster.path.name}: {job.kind} (or all)"
    if "invalid partition" in stderr.lower():
        partitions = ", ".join(sorted(set(sinfo_lines("%R"))))
        return (
            f"there is no partition '{resources.partition}' for {job.name}; available: {partitions}. "
            f"It is set in {section}.partition"
        )
    if resources.gpus and ("gres" in stderr or "node configuration is not available" in stderr):
        available = ", ".join(
            sorted({f"{gpus} in {partition}" for partition, gpus in map(str.split, sinfo_lines("%R %G")) if "gpu" in gpus})
        )
        offer = f"nodes have {available}" if available else "no node has a GPU"
        return (
            f"{job.name} requests gpus: {resources.gpus} on each node, but {offer}. "
            f"It is set in {section}.gpus; 0 runs without a GPU"
        )
    last_line = next((line for line in reversed(stderr.splitlines()) if line.strip()), "no error message")
    return f"sbatch rejects {job.name}: {last_line.removeprefix('sbatch: error: ')}. The resources are set in {section}"


def sinfo_lines(columns: str) -> list[str]:
    """Return a line of sinfo for each kind of node in each partition."""
    return slurm("sinfo", "--noheader", f"--format={columns}").stdout.splitlines()


def slurm(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UserError(NO_SLURM.format(command)) from None
