"""How many cores this process may use: its CPU affinity, and the CPU quota of its container (cgroup v1 or v2)."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def num_cores(root: Path = Path("/")) -> int:
    """The cores that this process may use, at least 1; a quota of 1.5 cores counts as 2.

    Args:
        root: contains proc/self/cgroup and sys/fs/cgroup.
    """
    return max(1, math.ceil(min([num_affinity_cores(), *_quotas(root)])))


def num_affinity_cores() -> int:
    """The cores on which the system may schedule this process, as taskset and Slurm set them; OpenMP's default."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """The quotas of the process's cgroups and of the groups that contain them, in cores."""
    base = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts = [base / controllers, base / "cpu"] if controllers else [base]  # v2 has no list of controllers
        # a container often sees its own group as the root of the mount, whatever the path
        group = PurePosixPath(path.lstrip("/"))
        for folder in (mount / each for mount in mounts for each in (group, *group.parents)):
            v1 = f"{_read(folder / 'cpu.cfs_quota_us')} {_read(folder / 'cpu.cfs_period_us')}"
            quota, _, period = (_read(folder / "cpu.max") or v1).partition(" ")
            if quota.strip().isdecimal() and period.strip().isdecimal() and int(period):  # else max, or -1: no limit
                yield int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
