"""What is done to runs, to the cluster's nodes and to its store, and undone again."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.e2e.cluster import FINAL, Cluster, Release
from tests.e2e.observer import wait_for
from tests.e2e.outcomes import Outcome
from verger.storage.stores import Stores
from verger.tables import manifest
from verger.tables.runs import Run, latest

BY_SIGTERM = 128 + 15
REGION = "topology.kubernetes.io/region"
SMALL = {"coreRequest": "250m"}  # several runs at once find room on two workers


def values(output: str, source: str, /, **run: Any) -> dict[str, Any]:
    """A run with one executor, tried twice at most."""
    without = {"report": False, "classifier": False, "audit": False}  # seconds that no fault is in
    settings = {"input": source, "output": output, "progress_interval": 1} | without | run
    return {"run": settings, "driver": SMALL, "executor": {"instances": 1, **SMALL}, "retries": 1}


@dataclass(frozen=True)
class Attempt:
    """A driver's container that has ended by itself."""

    code: int
    message: str
    seconds: float


@dataclass
class Watched:
    """A release, and what was seen of it until its end.

    Attributes
    ----------
    strikes : list of (int, callable)
        What is yet to be done to it, each when so many photographs are finished.
    struck : datetime, optional
        When the last of them was done.
    attempts : dict
        Every driver's container that was seen to have ended by itself, by the pod's uid.
    pods : dict
        Every pod that was seen, by uid, as it was last seen.
    """

    release: Release
    strikes: list[tuple[int, Callable[[Release], object]]] = field(default_factory=list)
    struck: datetime | None = None
    attempts: dict[str, Attempt] = field(default_factory=dict)
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def executors(self) -> list[str]:
        """Names of the executors' pods that were seen."""
        return sorted(pod["metadata"]["name"] for pod in self._of("executor"))

    def _of(self, component: str) -> list[dict[str, Any]]:
        return [pod for pod in self.pods.values() if pod["metadata"]["labels"]["spark-role"] == component]

    def until_replaced(self, component: str) -> float:
        """Seconds from the last strike to the first pod of the component that was made after it."""
        assert self.struck, "nothing was done to it"
        made = [datetime.fromisoformat(pod["metadata"]["creationTimestamp"]) for pod in self._of(component)]
        whole = self.struck.replace(microsecond=0)  # as Kubernetes tells the time
        after = [(one - whole).total_seconds() for one in made if one >= whole]
        assert after, f"no other {component} was started"
        return min(after)

    def see(self) -> str:
        """Look at it once, strike where it is time, and return its state."""
        for component in ("driver", "executor"):
            for pod in self.release.pods(component):
                self.pods[pod["metadata"]["uid"]] = pod
                if component == "driver":
                    self._note(pod)
        if self.strikes and finished(self.release) >= self.strikes[0][0]:
            _, strike = self.strikes.pop(0)
            self.struck = datetime.now(UTC)
            strike(self.release)
        if (state := self.release.state) in FINAL:
            self.release.stop()
        return state

    def _note(self, pod: dict[str, Any]) -> None:
        for container in pod["status"].get("containerStatuses", []):
            ended = container["state"].get("terminated")
            if ended and not _stopped(pod, ended):
                times = [datetime.fromisoformat(ended[key]) for key in ("startedAt", "finishedAt") if ended.get(key)]
                seconds = (times[-1] - times[0]).total_seconds() if times else 0.0  # a lost node does not tell
                said = str(ended.get("message", ""))
                self.attempts[pod["metadata"]["uid"]] = Attempt(int(ended["exitCode"]), said, seconds)

    def tell(self, outcome: Outcome) -> None:
        """How it ended, by which line, and after how many seconds since its installation."""
        release = self.release
        attempts = release.status.get("executionAttempts", 0)
        outcome.saw(f"{release.state} after {attempts} attempt{'s' * (attempts != 1)}", to_the_end=release.seconds)
        if release.state == "FAILED":
            code = release.message.partition("ExitCode: ")[2].partition(",")[0]
            outcome.saw(f"exit code {code or 'unknown'}: {release.events()[-1].get('message', '')[:160]}")


def _stopped(pod: dict[str, Any], ended: dict[str, Any]) -> bool:
    """Whether its pod was deleted: the operator does so where a submission failed after it had made the pod."""
    return bool(pod["metadata"].get("deletionTimestamp")) and ended["exitCode"] == BY_SIGTERM


@dataclass
class Scheduled(Watched):
    """A release that has a schedule, which is suspended when two runs have completed.

    Attributes
    ----------
    ended : list of dict
        The completed runs, the first one first.
    """

    ended: list[dict[str, Any]] = field(default_factory=list)

    def see(self) -> str:
        cluster, name = self.release.cluster, self.release.name
        runs = cluster.applications(f"app.kubernetes.io/instance={name}")
        states = [run.get("status", {}).get("applicationState", {}).get("state") for run in runs]
        assert "FAILED" not in states, runs
        done = [run for run, state in zip(runs, states, strict=True) if state == "COMPLETED"]
        self.ended = sorted(done, key=lambda run: str(run["metadata"]["creationTimestamp"]))
        if len(done) < 2:
            return "RUNNING"
        self.release.stop()
        suspended = ("--type", "merge", "--patch", '{"spec":{"suspend":true}}')
        cluster.kubectl("patch", "scheduledsparkapplication", name, *suspended)
        return "COMPLETED"


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


AT_ONCE = 4
"""Runs in progress at the same time. With more of them, two cores answer the operator too late."""


def run_all(starts: Iterable[Callable[[], Watched]], timeout: float = 800) -> list[Watched]:
    """Start each where there is room, and look at all of them until each has ended, however."""
    end = time.monotonic() + timeout
    waiting, left, ended = list(starts), [], []
    while waiting or left:
        while waiting and len(left) < AT_ONCE:
            left.append(waiting.pop(0)())
        for one in [one for one in left if one.see() in FINAL]:
            left.remove(one)
            ended.append(one)
        late = left and time.monotonic() > end
        assert not late, "\n".join(f"{one.release.name} is {one.release.state}" for one in left)
        time.sleep(0.5)
    return ended


def until_ended(seen: Watched, timeout: float = 600) -> None:
    """Look at one that has started until it has ended, however."""
    run_all([lambda: seen], timeout)


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
def frozen_store(cluster: Cluster) -> Iterator[datetime]:
    """Stop the store's process, which keeps its data and its connections and answers nobody; it yields since when."""
    (pod,) = cluster.get("pods", "--selector", "app=store", namespace="store")["items"]
    (container,) = pod["spec"]["containers"]
    signal = ["docker", "exec", pod["spec"]["nodeName"], "pkill"]  # a node of kind is a container
    process = ["--full", "--", " ".join(container["args"])]
    try:
        _run([*signal, "--signal", "STOP", *process])
        yield datetime.now(UTC)
    finally:
        _run([*signal, "--signal", "CONT", *process])
        wait_for(60, lambda: _is_ready(cluster))


def _is_ready(cluster: Cluster) -> bool:
    (pod,) = cluster.get("pods", "--selector", "app=store", namespace="store")["items"]
    return all(container["ready"] for container in pod["status"]["containerStatuses"])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
