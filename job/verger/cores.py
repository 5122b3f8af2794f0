"""How many cores this process may use: those of its CPU set, or fewer where a container's quota is smaller.

joblib.cpu_count reads only the quota at the root of the mount. It misses those of a nested control group and of the
groups above it, such as a systemd slice or a pod around the container.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

_CGROUP_MOUNT = Path("/sys/fs/cgroup")
_PROCESS_CGROUPS = Path("/proc/self/cgroup")


def available_cores() -> int:
    """Count the cores that this process may use, at least one.

    A quota, as ``docker run --cpus`` or a pod's CPU limit sets it, is rounded up, as Java does.

    Returns
    -------
    int
        The size of the CPU set, or the smallest quota where that is less.
    """
    return max(1, min([len(os.sched_getaffinity(0)), *map(math.ceil, _quotas())]))


def use_one_thread() -> None:
    """Let the numeric libraries of this process use one thread: Spark starts a Python worker a core.

    Variables such as OMP_NUM_THREADS do not do it: the user may have set them for other programs, and an embedded Spark
    does not pass its own to the workers.
    """
    import numpy  # noqa: F401 - what is loaded later has no limit
    import pyarrow as pa
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    pa.set_cpu_count(1)


def _quotas() -> Iterator[float]:
    """The quotas of this process's control group and of those above it, in cores; for cgroups version 2 and 1."""
    try:
        groups = _PROCESS_CGROUPS.read_text().splitlines()
    except OSError:
        return
    for number, controllers, path in (line.split(":", 2) for line in groups):
        if number == "0":
            mount = _CGROUP_MOUNT
        elif "cpu" in controllers.split(","):
            mount = _CGROUP_MOUNT / "cpu"
        else:
            continue
        group = PurePosixPath(path).relative_to("/")
        for folder in (group, *group.parents):  # in a container only the last one may exist, as the path is the host's
            with suppress(OSError, ValueError, ZeroDivisionError):
                yield _quota(mount / folder)


def _quota(folder: Path) -> float:
    """The quota of one control group, in cores; ValueError where it has none."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except FileNotFoundError:
        quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    cores = int(quota) / int(period)  # 'max' is not a number
    if cores <= 0:
        raise ValueError(quota)
    return cores
