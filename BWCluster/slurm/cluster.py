"""A cluster in a small YAML: what each kind of job asks it for, and the script that says so to SLURM."""

import math
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.params import build, read_yaml, setting
from pipeline.project import CODE, root

KINDS = ("index", "shard", "merge", "train", "test", "explain", "report")
IN_JOB = "BWCluster/in_job.py"
NO_SLURM = (
    "there is no {} on the PATH: run this where jobs are submitted, after the `module load` that needs; --dry-run only shows"
)


@dataclass(frozen=True)
class Resources:
    """A section of the YAML."""

    partition: str | None = setting("")
    account: str | None = setting("")
    hours: float = setting("", low=0)
    cpus: int = setting("on each node", low=1)
    memory_gb: int = setting("on each node", low=1)
    gpus: int = setting("on each node", low=0)
    nodes: int = setting("", low=1)
    seconds_to_end: int = setting("", low=1)
    options: tuple[str, ...] = setting("of sbatch")


@dataclass(frozen=True)
class Cluster:
    path: Path
    setup: tuple[str, ...]
    jobs: dict[str, Resources]


@dataclass(frozen=True)
class Job:
    name: str
    kind: str
    command: str  # as the shell reads it
    after: str | None = None  # the name of the job that it needs
    shards: int = 0  # of an array; 0: it is none
    folder: Path | None = None  # None: the project

    @property
    def log(self) -> str:
        return f"{self.name}-%a-of-{self.shards}.log" if self.shards else f"{self.name}.log"


def read_cluster(path: Path) -> Cluster:
    """What a section does not say, `all` says for it."""
    values = read_yaml(path)
    unknown = sorted(values.keys() - {"all", "setup", *KINDS})
    if unknown:
        raise UserError(f"{path.name}: {unknown[0]} is no section; there are: all, setup, {', '.join(KINDS)}")
    for name in ("all", *(kind for kind in KINDS if values.get(kind))):
        if not isinstance(values.get(name), dict):
            raise UserError(f"{path.name}: {name} must hold 'key: value' lines")
    setup = values.get("setup") or []
    if not isinstance(setup, list) or not all(isinstance(line, str) for line in setup):
        raise UserError(f"{path.name}: setup must be a list of shell lines")
    shared = dict(values["all"])
    build(Resources, shared, f"{path.name}: all")
    jobs = {kind: build(Resources, {**shared, **(values.get(kind) or {})}, f"{path.name}: {kind}") for kind in KINDS}
    return Cluster(path, tuple(setup), jobs)


def script_of(job: Job, cluster: Cluster, logs: Path) -> str:
    asked = cluster.jobs[job.kind]
    here = root()
    watched = ["python", CODE / IN_JOB, "--name", job.name, "--kind", job.kind, "--gpus", asked.gpus, "--logs", logs]
    lines = [
        "#!/usr/bin/env bash",
        *(f"#SBATCH {shlex.quote(option)}" for option in _options(job, asked, logs)),
        *cluster.setup,
        f"cd {shlex.quote(str(job.folder or here))} || exit",
        *_activation(CODE / ".venv/bin/activate"),
        f"exec {shlex.join(map(str, watched))} -- {job.command}",
    ]
    return "\n".join(lines) + "\n"


def _activation(venv: Path) -> list[str]:
    return [f". {shlex.quote(str(venv))}"] if venv.is_file() else []


def _options(job: Job, asked: Resources, logs: Path) -> list[str]:
    given: dict[str, Any] = {
        "job-name": job.name,
        "output": logs / job.log,
        "open-mode": "append",  # a job that was requeued goes on in its log
        "array": f"1-{job.shards}" if job.shards else None,
        "partition": asked.partition,
        "account": asked.account,
        "time": math.ceil(60 * asked.hours),  # minutes
        "nodes": asked.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": asked.cpus,
        "mem": f"{asked.memory_gb}G",
        "gres": f"gpu:{asked.gpus}" if asked.gpus else None,
        "signal": f"B:USR1@{asked.seconds_to_end}",  # to in_job.py alone, which tells the others
    }
    return [f"--{name}={value}" for name, value in given.items() if value is not None] + ["--requeue", *asked.options]


def submit(jobs: Sequence[Job], cluster: Cluster, logs: Path) -> dict[str, str]:
    """The jobs' numbers by name. All of them are submitted, or none."""
    numbers: dict[str, str] = {}
    logs.mkdir(parents=True)
    try:
        for job in jobs:
            (logs / f"{job.name}.sh").write_text(script_of(job, cluster, logs))
            waits = [f"--dependency=afterok:{numbers[job.after]}", "--kill-on-invalid-dep=yes"] if job.after else []
            done = slurm("sbatch", "--parsable", *waits, str(logs / f"{job.name}.sh"))
            if done.returncode:
                raise UserError(refusal(job, cluster, done.stderr))
            numbers[job.name] = done.stdout.strip().split(";")[0]  # of several clusters, the cluster's name follows
    except UserError:
        if numbers:
            slurm("scancel", *numbers.values())
        raise
    return numbers


def refusal(job: Job, cluster: Cluster, told: str) -> str:
    """Why SLURM does not take the job, in words that name what there is and where it is set."""
    asked, where = cluster.jobs[job.kind], f"{cluster.path.name}: {job.kind} (or all)"
    if "invalid partition" in told.lower():
        there = ", ".join(sorted(set(facts("%R"))))
        return f"there is no partition '{asked.partition}' for {job.name}; there are: {there}. It is set in {where}.partition"
    if asked.gpus and ("gres" in told or "node configuration is not available" in told):
        found = ", ".join(
            sorted({f"{gpus} in {partition}" for partition, gpus in map(str.split, facts("%R %G")) if "gpu" in gpus})
        )
        there = f"nodes have {found}" if found else "no node has any"
        return f"{job.name} asks for gpus: {asked.gpus} on each node, but {there}. It is set in {where}.gpus; 0 does without"
    last = next((line for line in reversed(told.splitlines()) if line.strip()), "it said nothing")
    return f"sbatch refuses {job.name}: {last.removeprefix('sbatch: error: ')}. What is asked for is set in {where}"


def facts(form: str) -> list[str]:
    """A line for each kind of node in each partition."""
    return slurm("sinfo", "--noheader", f"--format={form}").stdout.splitlines()


def slurm(command: str, *words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run([command, *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UserError(NO_SLURM.format(command)) from None
