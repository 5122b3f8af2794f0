"""What is seen of a run from outside while it works: its pods, its metrics, and what its pods can reach."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Self

from tests.e2e.cluster import Release

# Reads the driver's endpoint twice a second, and prints each answer's gauges of ours.
SCRAPER = """
import json, re, sys, time, urllib.request
end = time.monotonic() + 600
while time.monotonic() < end:
    try:
        page = urllib.request.urlopen(sys.argv[1], timeout=2).read().decode()
        found = re.findall(r"^metrics_verger_driver_\\w*?(photographs_\\w+?)_(?:Number|Value)\\S* (\\S+)", page, re.M)
        print(json.dumps({name: float(value) for name, value in found}), flush=True)
    except Exception as error:
        print(json.dumps({"error": str(error)}), flush=True)
    time.sleep(0.5)
"""

# Whether an address answers at all.
PROBE = """
import json, socket, sys
def reached(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
        return True
    except OSError:
        return False
print(json.dumps({address: reached(address) for address in sys.argv[1:]}))
"""


class Observer:
    """Watches a release's pods from its installation to its end.

    Attributes
    ----------
    pods : dict
        Every pod that was seen, by name, as it was last seen.
    reached : dict
        Component to what a pod of it reached, the last time that it was asked.
    files : dict
        Component to what lies below the folder of service accounts' tokens in a pod of it.
    """

    # A Prometheus' namespace, which the run lets in, and one that it does not know.
    MONITORING, STRANGER = "verger-e2e-monitoring", "verger-e2e-stranger"
    METRICS_FROM: ClassVar = {"kubernetes.io/metadata.name": MONITORING}

    def __init__(self, release: Release) -> None:
        self.release = release
        self.pods: dict[str, dict[str, Any]] = {}
        self.reached: dict[str, dict[str, bool]] = {}
        self.files: dict[str, str] = {}
        self._asked: dict[str, float] = {}
        self._over = threading.Event()
        self._watching = ThreadPoolExecutor(1)
        cluster = release.cluster
        self.api = "{}:443".format(cluster.get("service", "kubernetes", namespace="default")["spec"]["clusterIP"])
        self.store = "store.store.svc.cluster.local:9000"
        pod = cluster.get("pods", "--selector", "k8s-app=kube-dns", namespace="kube-system")["items"][0]
        self.elsewhere = f"{pod['status']['podIP']}:8080"  # the DNS server's health, which is nobody's business

    def __enter__(self) -> Self:
        cluster = self.release.cluster
        for namespace in (self.MONITORING, self.STRANGER):
            cluster.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait")
            cluster.kubectl("create", "namespace", namespace)
        self._watched = self._watching.submit(self._watch)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watching.shutdown()
        self.scraped = self._answers(self.MONITORING)
        self.refused = self._answers(self.STRANGER)
        for namespace in (self.MONITORING, self.STRANGER):
            self.release.cluster.kubectl("delete", "namespace", namespace, "--wait=false")
        self._watched.result()

    def _watch(self) -> None:
        while not self._over.wait(0.5):
            for component in ("driver", "executor"):
                for pod in self.release.pods(component):
                    self._see(component, pod)

    def _see(self, component: str, pod: dict[str, Any]) -> None:
        name = pod["metadata"]["name"]
        self.pods[name] = pod
        if pod["status"].get("phase") != "Running":
            return
        if component == "driver" and component not in self._asked:
            for namespace in (self.MONITORING, self.STRANGER):
                self._scrape(pod["status"]["podIP"], namespace)
        # Again and again: a network plugin may take some seconds to put a policy into force for a new pod.
        if time.monotonic() - self._asked.get(component, 0) < 4:
            return
        self._asked[component] = time.monotonic()
        if answer := self._exec(name, "python", "-c", PROBE, self.api, self.store, self.elsewhere):
            self.reached[component] = json.loads(answer)
            self.files[component] = self._exec(name, "find", "/var/run/secrets", "-name", "token")

    def _exec(self, pod: str, *command: str) -> str:
        cluster = self.release.cluster
        try:
            return cluster.kubectl("exec", pod, "--", *command)
        except (AssertionError, subprocess.TimeoutExpired):  # it has ended meanwhile
            return ""

    def _scrape(self, address: str, namespace: str) -> None:
        container = {
            "name": "scraper",
            "image": self.release.cluster.image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["/opt/verger/bin/python", "-c", SCRAPER, f"http://{address}:4040/metrics/prometheus"],
        }
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "scraper", "namespace": namespace},
            "spec": {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 0},
        }
        self.release.cluster.apply(pod)

    def _answers(self, namespace: str) -> list[dict[str, Any]]:
        try:
            said = self.release.cluster.kubectl("logs", "scraper", namespace=namespace)
        except AssertionError as none:
            return [{"error": str(none)}]
        return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def wait_for(seconds: float, what: Any) -> Any:
    """What it returns when it is true."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"still {found!r} after {seconds} s"
        time.sleep(0.5)
    return found
