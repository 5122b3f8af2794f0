"""Memory and disk: what the tests on a cluster need, and what is there before they begin."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, fields
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from tests.e2e.cluster import Cluster
from tests.e2e.faults import AT_ONCE, workers

MIB, GIB = 2**20, 2**30
# What the pods of a run ask for with the values for kind; test_run.py compares them with pods.
DRIVER, EXECUTOR = 2688 * MIB, 2432 * MIB


@dataclass(frozen=True)
class Room:
    """Bytes that are needed, or that are there.

    Attributes
    ----------
    worker : int
        Memory for which pods can ask on each worker: where another is drained, one has the driver and two executors.
    workers : int
        The same on all of them together: for the runs in progress at the same time.
    memory : int
        Really available on the machine below the nodes. Each of kind's nodes counts all of the machine's as its own.
    disk : int
        Free on the disk with the nodes' images and volumes.
    """

    worker: int
    workers: int
    memory: int
    disk: int


# While all tests ran on kind, the machine had at most 5.7 GiB less available and 1.3 GiB less free than before. That
# includes other tests beside them: faults alone took 2.4 GiB.
NEEDED = Room(
    worker=DRIVER + 2 * EXECUTOR,
    workers=AT_ONCE * (DRIVER + EXECUTOR),
    memory=6 * GIB,
    disk=3 * GIB,
)

_LACKING = {
    "worker": "on one worker, pods can ask for {there} GiB of memory, and {needed} are needed",
    "workers": "on all workers, pods can ask for {there} GiB of memory, and {needed} are needed",
    "memory": "the machine has {there} GiB of memory available, and {needed} are needed",
    "disk": "the disk with the nodes' images has {there} GiB free, and {needed} are needed",
}


def lacking(needed: Room, there: Room) -> str:
    """What there is too little of, how much of it there is and how much is needed, in a line, or nothing."""
    return "; ".join(
        _LACKING[name].format(there=f"{has / GIB:.1f}", needed=f"{needs / GIB:.1f}")
        for name in (field.name for field in fields(Room))
        if (has := getattr(there, name)) < (needs := getattr(needed, name))
    )


def unrequested(nodes: list[dict[str, Any]], pods: list[dict[str, Any]]) -> dict[str, int]:
    """Bytes of memory for which pods can still ask, by node. Both are as Kubernetes writes them in JSON."""
    left = {node["metadata"]["name"]: int(parse_quantity(node["status"]["allocatable"]["memory"])) for node in nodes}
    for pod in pods:
        if pod["spec"].get("nodeName") in left and pod["status"]["phase"] not in ("Succeeded", "Failed"):
            left[pod["spec"]["nodeName"]] -= requested(pod)
    return left


def requested(pod: dict[str, Any]) -> int:
    """Bytes of memory for which a pod asks."""
    asked = [one.get("resources", {}).get("requests", {}).get("memory", "0") for one in pod["spec"]["containers"]]
    return sum(int(parse_quantity(one)) for one in asked)


def there(cluster: Cluster) -> Room:
    """What a cluster has now, whose nodes are containers of one machine."""
    names = workers(cluster)
    nodes = [node for node in cluster.get("nodes")["items"] if node["metadata"]["name"] in names]
    left = unrequested(nodes, cluster.get("pods", "--all-namespaces")["items"])
    said = subprocess.run(
        ["docker", "exec", names[0], "sh", "-c", "grep MemAvailable /proc/meminfo; df -Pk /var"],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    memory, disk = measured(said)
    return Room(min(left.values()), sum(left.values()), memory, disk)


def measured(said: str) -> tuple[int, int]:
    """Bytes of memory available and of disk free, from a line of /proc/meminfo and from what ``df`` says in KiB."""
    memory, _, disk = said.splitlines()
    return int(memory.split()[1]) * 1024, int(disk.split()[3]) * 1024
