"""The chart, rendered by every helm that is found: what comes out as objects, what is refused as a line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.web import Answer, Request, serving

CHART = ROOT / "charts" / "verger"
EXAMPLES = sorted((CHART / "ci").glob("*-values.yaml"))
RELEASE, NAMESPACE = "orchard", "verger"
KUBERNETES = "1.33.0"
ROLES = ("driver", "executor")
PODS = (*ROLES, "doctor")
Object = dict[str, Any]

# What no release can do without, where there is no cluster to be asked.
LEAST: Object = {
    "run": {"input": "s3://photographs/fruit", "output": "s3://results/verger"},
    "image": {"repository": "verger"},
    "networkPolicy": {"apiServer": {"addresses": ["10.0.0.1/32"]}},
}


def merge_values(values: Object, more: Object) -> Object:
    """Some values over others, as helm merges them."""
    merged = dict(values)
    for name, value in more.items():
        both = isinstance(merged.get(name), dict) and isinstance(value, dict)
        merged[name] = merge_values(merged[name], value) if both else value
    return merged


def nested(path: str, value: Any) -> Object:
    """``a.b`` and a value as values; a dot that belongs to a key is written ``\\.``."""
    *parents, last = (part.replace("\0", ".") for part in path.replace("\\.", "\0").split("."))
    found: Object = {last: value}
    for parent in reversed(parents):
        found = {parent: found}
    return found


def container(pod: Object) -> Object:
    """A pod's only one."""
    (found,) = pod["containers"]
    return dict(found)


class Objects(list[Object]):
    """What was rendered."""

    def one(self, kind: str, name: str | None = None) -> Object:
        (found,) = [item for item in self if item["kind"] == kind and name in (None, item["metadata"]["name"])]
        return found

    def names(self, kind: str) -> set[str]:
        return {item["metadata"]["name"] for item in self if item["kind"] == kind}

    @property
    def spec(self) -> Object:
        """What the operator is told."""
        (application,) = [item for item in self if item["kind"].endswith("SparkApplication")]
        spec: Object = application["spec"]
        return spec["template"] if application["kind"] == "ScheduledSparkApplication" else spec

    def metadata(self, role: str) -> Object:
        """Labels and annotations of the pod of driver, executor or doctor."""
        found: Object = (self.one("Pod") if role == "doctor" else self.spec[role]["template"])["metadata"]
        return found

    def pod(self, role: str) -> Object:
        """The pod of driver or executor, as its template says, or that of the doctor."""
        return self.one("Pod")["spec"] if role == "doctor" else self.spec[role]["template"]["spec"]

    @property
    def config(self) -> str:
        """The YAML file that `verger` is given."""
        text: str = self.one("ConfigMap")["data"]["run.yaml"]
        return text


@cache
def _ran(command: tuple[str, ...], values: str) -> subprocess.CompletedProcess[str]:
    """What came of it; the same is not done twice."""
    environment = {**os.environ, "KUBECONFIG": os.devnull}
    return subprocess.run(command, input=values, env=environment, capture_output=True, text=True, timeout=60)


@dataclass(frozen=True)
class Helm:
    """One helm."""

    program: str

    def run(self, command: str, *arguments: str, values: Object) -> subprocess.CompletedProcess[str]:
        return _ran((self.program, *command.split(), *arguments, "--values", "-"), json.dumps(values))

    def template(
        self, values: Object | None = None, *arguments: str, release: str = RELEASE, least: bool = True
    ) -> subprocess.CompletedProcess[str]:
        given = merge_values(LEAST if least else {}, values or {})
        # The version is given, because a helm that Go built without flags takes Kubernetes for 1.20.
        fixed = ("--namespace", NAMESPACE, "--kube-version", KUBERNETES)
        return self.run("template", release, str(CHART), *fixed, *arguments, values=given)

    def render(self, values: Object | None = None, *arguments: str, release: str = RELEASE) -> Objects:
        done = self.template(values, *arguments, release=release)
        assert done.returncode == 0, done.stderr
        return Objects(filter(None, yaml.safe_load_all(done.stdout)))

    def refuses(self, values: Object | None = None, *arguments: str, **options: Any) -> str:
        done = self.template(values, *arguments, **options)
        assert done.returncode != 0, done.stdout
        return done.stderr


KINDS = {
    "v1": {"configmaps": "ConfigMap", "pods": "Pod", "serviceaccounts": "ServiceAccount", "services": "Service"},
    "discovery.k8s.io/v1": {"endpointslices": "EndpointSlice"},
    "networking.k8s.io/v1": {"networkpolicies": "NetworkPolicy"},
    "rbac.authorization.k8s.io/v1": {"roles": "Role", "rolebindings": "RoleBinding"},
    "sparkoperator.k8s.io/v1beta2": {
        "sparkapplications": "SparkApplication",
        "scheduledsparkapplications": "ScheduledSparkApplication",
    },
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "kubernetes"},
    "spec": {"clusterIPs": ["10.96.0.1", "fd00::1"], "ports": [{"name": "https", "port": 443}]},
}
API_SERVER = {
    "endpoints": [{"addresses": ["172.18.0.2"]}, {"addresses": ["172.18.0.3"]}],
    "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}],
}


@contextmanager
def cluster(says: Object = API_SERVER) -> Iterator[tuple[str, ...]]:
    """As much of Kubernetes as helm asks for, by the arguments that name it; ``says`` where its API server is."""
    known: Object = {
        "/version": {"major": "1", "minor": "33", "gitVersion": "v1.33.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "groups": []},
    }
    for version, kinds in KINDS.items():
        group, _, number = version.rpartition("/")
        known[f"/apis/{version}" if group else f"/api/{version}"] = {
            "kind": "APIResourceList",
            "groupVersion": version,
            "resources": [
                {"name": name, "kind": kind, "namespaced": True, "verbs": ["get"]} for name, kind in kinds.items()
            ],
        }
        if group:
            versions = [{"groupVersion": version, "version": number}]
            known["/apis"]["groups"].append({"name": group, "versions": versions, "preferredVersion": versions[0]})
    if says:
        found = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "kubernetes"},
            **says,
        }
        known["/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"] = found
        known["/api/v1/namespaces/default/services/kubernetes"] = SERVICE
    nothing = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}

    def answer(request: Request) -> Answer:
        path = request.path
        return Answer(json.dumps(known.get(path, nothing)), 200 if path in known else 404, "application/json")

    with serving(answer) as web:
        yield "--kube-apiserver", web.url


@pytest.fixture(params=["helm", "helm4"])
def helm(request: pytest.FixtureRequest) -> Helm:
    return _found(request.param)


@pytest.fixture
def helm3() -> Helm:
    """One helm is enough to see what a template says."""
    return _found("helm")


def _found(program: str) -> Helm:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not on the PATH: `make programs` builds it")
    return Helm(program)


@pytest.fixture(scope="session")
def check_objects(schemas: Path) -> Iterator[Any]:
    """Assert that every object is one that Kubernetes and the operator know, down to the last field."""

    def check(objects: list[Object]) -> None:
        wrong = invalid(objects, schemas)
        assert not wrong, wrong

    yield check


def invalid(objects: list[Object], schemas: Path) -> str:
    """What kubeconform has to say against these."""
    if shutil.which("kubeconform") is None:
        pytest.skip("kubeconform is not on the PATH: `make programs` builds it")
    done = subprocess.run(
        ["kubeconform", "-strict", "-schema-location", f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", "-"],
        input="\n---\n".join(json.dumps(item) for item in objects),
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout + done.stderr if done.returncode else ""


@pytest.fixture(scope="session")
def schemas() -> Path:
    """The folder of the schemas by which kubeconform judges."""
    folder = Path(os.environ.get("VERGER_KUBERNETES_SCHEMAS", ROOT / "build" / "schemas"))
    if not any(folder.glob("sparkapplication-*.json")):
        pytest.skip(f"no schemas of Kubernetes in {folder}: `make schemas` makes them")
    return folder
