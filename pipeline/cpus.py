"""The number of CPUs that this process may use: what `auto` means for workers and threads."""

import os
from pathlib import Path

CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # "200000 100000": two CPUs; "max 100000": no limit


def available_cpus() -> int:
    """CPUs of the machine, within the affinity of this process and the quota of its container."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cpus, _quota() or cpus))


def _quota() -> int | None:
    try:
        quota, period = CGROUP_QUOTA.read_text().split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError):  # no cgroup, or no limit
        return None


def loading_workers() -> int:
    """Processes that read crops while the CPUs or a GPU train: more than eight rarely help."""
    return min(8, max(1, available_cpus() // 2))


def serving_workers() -> int:
    """Workers of the server, each of which needs about 1 GB of memory."""
    return min(4, available_cpus())


def serving_threads() -> int:
    return max(1, available_cpus() // serving_workers())
