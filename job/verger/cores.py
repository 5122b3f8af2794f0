"""How many cores this process may use: those of its CPU set, or fewer where a container's quota is smaller."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

_MOUNT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def available_cores() -> int:
    """Cores that threads can be kept busy on; the machine's number does not count.

    A quota, such as ``docker run --cpus`` or a pod's CPU limit makes, is rounded up, as Java does.
    """
    return max(1, min([len(os.sched_getaffinity(0)), *map(math.ceil, _quotas())]))


def _quotas() -> Iterator[float]:
    """Quotas of this process's control group and those above it, in cores; versions 2 and 1 of Linux's interface."""
    try:
        groups = _OWN.read_text().splitlines()
    except OSError:
        return
    for number, controllers, path in (line.split(":", 2) for line in groups):
        if number == "0":
            mount = _MOUNT
        elif "cpu" in controllers.split(","):
            mount = _MOUNT / "cpu"
        else:
            continue
        own = PurePosixPath(path).relative_to("/")
        for folder in (own, *own.parents):  # in a container the path may be the host's: the last one is there
            with suppress(OSError, ValueError, ZeroDivisionError):
                yield _quota(mount / folder)


def _quota(folder: Path) -> float:
    """Cores' worth of time; ValueError where there is no bound."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except FileNotFoundError:
        quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    share = int(quota) / int(period)  # 'max' is no number
    if share <= 0:
        raise ValueError(quota)
    return share
