"""What is done to runs, to the cluster's nodes and to its store, and undone again."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.cluster import FINAL, Cluster, Release
from tests.e2e.observer import wait_for
from verger.storage.stores import Stores
from verger.tables import manifest
from verger.tables.runs import Run, latest

REGION = "topology.kubernetes.io/region"
SMALL = {"coreRequest": "250m"}  # several runs at once find room on two workers


def values(output: str, source: str, /, **run: Any) -> dict[str, Any]:
    """A run with one executor, tried twice at most."""
    settings = {"input": source, "output": output, "progress_interval": 1, "report": False} | run
    return {"run": settings, "driver": SMALL, "executor": {"instances": 1, **SMALL}, "retries": 1}


@dataclass
class Watched:
    """A release, and what was seen of it until its end.

    Attributes
    ----------
    strike : callable, optional
        What is done to it in the middle of the extraction.
    struck : bool
        Whether that was done.
    attempts : dict
        Exit code and message of every driver's container that ended, by the pod's uid.
    pods : dict
        Every pod that was seen, by name, as it was last seen.
    """

    release: Release
    strike: Callable[[Release], object] | None = None
    struck: bool = False
    attempts: dict[str, tuple[int, str]] = field(default_factory=dict)
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def executors(self) -> list[str]:
        """Names of the executors' pods that were seen."""
        return sorted(name for name, pod in self.pods.items() if pod["metadata"]["labels"]["spark-role"] == "executor")

    def see(self) -> str:
        """Look at it once, strike where it is time, and return its state."""
        for component in ("driver", "executor"):
            for pod in self.release.pods(component):
                self.pods[pod["metadata"]["name"]] = pod
                if component == "driver":
                    self._note(pod)
        if self.strike is not None and not self.struck and finished(self.release) >= MIDDLE:
            self.strike(self.release)
            self.struck = True
        return self.release.state

    def _note(self, pod: dict[str, Any]) -> None:
        for container in pod["status"].get("containerStatuses", []):
            if ended := container["state"].get("terminated"):
                said = str(ended.get("message", ""))
                self.attempts[pod["metadata"]["uid"]] = (int(ended["exitCode"]), said)


WAVE = 96
"""Photographs of a wave."""
MIDDLE = 3 * WAVE
"""When so many are finished, one wave is committed: two at a time are in progress."""


def finished(release: Release) -> int:
    """How many photographs the driver that runs now has finished."""
    done = [event["done"] for event in release.events() if event["event"] == "progress"]
    return int(done[-1]) if done else 0


def install(folder: Path, watched: Watched, given: dict[str, Any]) -> Watched:
    watched.release.install(folder, given)
    return watched


def until_ended(all_of_them: list[Watched], timeout: float = 600) -> None:
    """Look at all of them until each has ended, however."""
    end = time.monotonic() + timeout
    left = list(all_of_them)
    while left:
        left = [one for one in left if one.see() not in FINAL]
        late = left and time.monotonic() > end
        assert not late, "\n".join(f"{one.release.name} is {one.release.state}" for one in left)
        time.sleep(0.5)


def run_of(release: Release, output: str) -> tuple[Run, dict[str, Any]]:
    """The run that the release's name points at, and its manifest."""
    run = latest(Stores().of(output), output, release.name)
    assert run is not None, f"{output} has no run of {release.name}"
    return run, manifest.read(run).as_dict()


def delete_pod(component: str, *how: str) -> Callable[[Release], object]:
    """Deletes the first pod of a component that runs."""

    def strike(release: Release) -> None:
        (name, *_) = [p["metadata"]["name"] for p in release.pods(component) if p["status"]["phase"] == "Running"]
        release.cluster.kubectl("delete", "pod", name, "--wait=false", *how)

    return strike


def workers(cluster: Cluster) -> list[str]:
    """Names of the nodes on which runs are scheduled."""
    nodes = cluster.get("nodes", "--selector", "!node-role.kubernetes.io/control-plane")["items"]
    return sorted(node["metadata"]["name"] for node in nodes)


@contextmanager
def drained(release: Release) -> Iterator[str]:
    """Take a node away from a release: one with an executor, and without the driver. Other pods stay on it."""
    cluster = release.cluster
    (driver,) = release.pods("driver")
    home = driver["spec"]["nodeName"]

    def elsewhere() -> list[str]:
        nodes = [pod["spec"].get("nodeName") for pod in release.pods("executor")]
        return [node for node in nodes if node and node != home]

    node = wait_for(60, elsewhere)[0]
    of_release = f"--pod-selector=app.kubernetes.io/instance={release.name}"
    try:
        cluster.kubectl("drain", node, "--delete-emptydir-data", "--force", "--timeout=180s", of_release)
        yield node
    finally:
        cluster.kubectl("uncordon", node)


@contextmanager
def relabelled(cluster: Cluster, region: str) -> Iterator[Callable[[str], None]]:
    """Let all workers say that they are in another region; what it yields puts one node's label back."""
    before = {node: cluster.get("node", node)["metadata"]["labels"][REGION] for node in workers(cluster)}

    def put_back(node: str) -> None:
        cluster.kubectl("label", "node", node, "--overwrite", f"{REGION}={before[node]}")

    try:
        for node in before:
            cluster.kubectl("label", "node", node, "--overwrite", f"{REGION}={region}")
        yield put_back
    finally:
        for node in before:
            put_back(node)


@contextmanager
def frozen_store(cluster: Cluster) -> Iterator[None]:
    """Stop the store's process, which keeps its data and its connections and answers nobody."""
    (pod,) = cluster.get("pods", "--selector", "app=store", namespace="store")["items"]
    node = ["docker", "exec", pod["spec"]["nodeName"]]  # a node of kind is a container
    container = pod["status"]["containerStatuses"][0]["containerID"].partition("//")[2]
    process = _said([*node, "crictl", "inspect", "--output", "go-template", "--template", "{{.info.pid}}", container])
    assert process.isdigit(), process
    try:
        _said([*node, "sh", "-c", f"kill -STOP {process}"])
        yield
    finally:
        _said([*node, "sh", "-c", f"kill -CONT {process}"])
        wait_for(60, lambda: _is_ready(cluster))


def _is_ready(cluster: Cluster) -> bool:
    (pod,) = cluster.get("pods", "--selector", "app=store", namespace="store")["items"]
    return all(container["ready"] for container in pod["status"]["containerStatuses"])


def _said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout.strip()
