"""A Kubernetes cluster and releases of the chart in it, by the commands that a user has: kubectl and helm."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from kubernetes import client
from kubernetes.config import new_client_from_config

from tests.conftest import ROOT
from verger import __version__

CHART = ROOT / "charts" / "verger"
FINAL = ("COMPLETED", "FAILED")


@dataclass
class Cluster:
    """One that `scripts/kind up` has made ready."""

    context: str = field(default_factory=lambda: f"kind-{os.environ.get('CLUSTER', 'verger')}")
    image: str = field(default_factory=lambda: os.environ.get("IMAGE", f"verger:{__version__}"))
    namespace: str = "verger"

    def missing(self) -> str:
        """Why there is none, in a line, or nothing."""
        for tool in ("kubectl", "helm"):
            if shutil.which(tool) is None:
                return f"{tool} was not found"
        asked = self._run("kubectl", "--context", self.context, "get", "crd", "sparkapplications.sparkoperator.k8s.io")
        if asked.returncode:
            return f"no cluster {self.context} with a spark-operator: `scripts/kind up` makes one"
        return ""

    @staticmethod
    def _run(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)

    def kubectl(self, *arguments: str, stdin: str | None = None, namespace: str | None = None) -> str:
        done = self._run(
            "kubectl", "--context", self.context, "--namespace", namespace or self.namespace, *arguments, input=stdin
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def get(self, *arguments: str, namespace: str | None = None) -> Any:
        return json.loads(self.kubectl("get", *arguments, "--output", "json", namespace=namespace))

    # What is polled is not asked by kubectl, which takes a tenth of a second of a core each time.
    @cached_property
    def _client(self) -> client.ApiClient:
        return new_client_from_config(context=self.context)

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """As Kubernetes writes them in JSON."""
        found = client.CoreV1Api(self._client).list_namespaced_pod(self.namespace, label_selector=selector)
        pods: list[dict[str, Any]] = self._client.sanitize_for_serialization(found)["items"]
        return pods

    def application(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = client.CustomObjectsApi(self._client).get_namespaced_custom_object(
            "sparkoperator.k8s.io", "v1beta2", self.namespace, "sparkapplications", name
        )
        return found

    def applications(self, selector: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = client.CustomObjectsApi(self._client).list_namespaced_custom_object(
            "sparkoperator.k8s.io", "v1beta2", self.namespace, "sparkapplications", label_selector=selector
        )["items"]
        return found

    def apply(self, *documents: dict[str, Any]) -> None:
        for document in documents:
            namespace = document["metadata"].get("namespace")
            self.kubectl("apply", "--filename", "-", stdin=json.dumps(document), namespace=namespace)

    def helm(self, *arguments: str, program: str = "helm", **options: Any) -> subprocess.CompletedProcess[str]:
        common = ("--kube-context", self.context, "--namespace", self.namespace)
        return self._run(program, *common, *arguments, **options)

    def things(self) -> set[str]:
        """Everything in the namespace by kind and name, but what comes and goes by itself."""
        kinds = self.kubectl("api-resources", "--namespaced", "--verbs", "list", "--output", "name").split()
        kinds = [kind for kind in kinds if not kind.startswith(("events", "leases", "endpoint"))]
        listed = self.kubectl("get", ",".join(kinds), "--output", "name", "--ignore-not-found")
        return set(listed.split())

    @contextmanager
    def forwarded(self, what: str, port: int, namespace: str) -> Iterator[int]:
        """A port of this machine that leads to a pod's or service's."""
        command = ["kubectl", "--context", self.context, "--namespace", namespace, "port-forward", what, f":{port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                said = process.stdout.readline()
                found = re.search(r"127\.0\.0\.1:(\d+)", said)
                assert found, f"{' '.join(command)}: {said}"
                yield int(found[1])
            finally:
                process.terminate()


def helm_of(major: int) -> str:
    """The program on the PATH that is this version of helm, or nothing. Both may be called helm."""
    for program in filter(shutil.which, ("helm", f"helm{major}")):
        if Cluster._run(program, "version", "--template", "{{.Version}}").stdout.startswith(f"v{major}."):
            return program
    return ""


@dataclass
class Release:
    """One run: `helm install`, and what comes of it."""

    cluster: Cluster
    name: str
    program: str = "helm"
    seconds: float = 0.0
    notes: str = ""

    def install(self, folder: Path, values: dict[str, Any], *more: str) -> None:
        """With the values for kind, the image under test, and ``values`` over them."""
        file = folder / f"{self.name}-values.yaml"
        repository, _, tag = self.cluster.image.rpartition(":")
        file.write_text(json.dumps({"image": {"repository": repository, "tag": tag}} | values))
        kind = CHART / "ci" / "kind-values.yaml"
        self.began = time.monotonic()
        done = self.cluster.helm(
            "install", self.name, str(CHART), "--values", str(kind), "--values", str(file), *more, program=self.program
        )
        assert done.returncode == 0, done.stderr
        self.notes = done.stdout

    def stop(self) -> None:
        """The first time that its end is seen, keep the seconds since it was installed."""
        self.seconds = self.seconds or time.monotonic() - self.began

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.application(self.name).get("status", {})
        return found

    @property
    def state(self) -> str:
        return str(self.status.get("applicationState", {}).get("state", ""))

    def until(self, reached: Callable[[str], bool], timeout: float) -> str:
        """Wait for a state; a run that has ended otherwise does not reach it any more."""
        end = time.monotonic() + timeout
        while True:
            state = self.state
            if reached(state):
                self.stop()
                return state
            assert state not in FINAL, f"{self.name} is {state}: {self.message}\n{self.log()[-3000:]}"
            assert time.monotonic() < end, f"{self.name} is still {state}\n{self.described()}"
            time.sleep(0.5)

    def ended(self, timeout: float = 600) -> str:
        return self.until(lambda state: state in FINAL, timeout)

    @property
    def message(self) -> str:
        return str(self.status.get("applicationState", {}).get("errorMessage", ""))

    def pods(self, component: str) -> list[dict[str, Any]]:
        selector = f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component={component}"
        return self.cluster.pods(selector)

    def log(self) -> str:
        done = self.cluster._run(
            "kubectl", "--context", self.cluster.context, "--namespace", self.cluster.namespace,
            "logs", f"{self.name}-driver",
        )  # fmt: skip
        return done.stdout or done.stderr

    def events(self) -> list[dict[str, Any]]:
        """The lines of ours in the driver's log."""
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("logger") == "verger"]

    def described(self) -> str:
        return self.cluster.kubectl("describe", "pods", "--selector", f"app.kubernetes.io/instance={self.name}")[-4000:]

    def uninstall(self) -> None:
        self.cluster.helm("uninstall", self.name, "--ignore-not-found", "--wait", program=self.program)
        end = time.monotonic() + 90
        while self.pods("driver") + self.pods("executor"):
            assert time.monotonic() < end, self.described()
            time.sleep(0.5)
