"""Write the JSON Schemas by which tests judge what the chart renders, and what manifests/aws gives to eksctl.

    python scripts/schemas.py FOLDER
    kubeconform -strict -schema-location 'FOLDER/{{.ResourceKind}}{{.KindSuffix}}.json' rendered.yaml

They are made of the sources of Kubernetes, the operators and eksctl, which Go fetches as modules and checks: no schema
is copied, and none comes from a server that may change it. A field that the API does not know is an error. So it is in
the pod templates of a SparkApplication, in which the operator's CRD itself takes anything.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

KUBERNETES = "v1.33.13"
PROMETHEUS_OPERATOR = "v0.85.0"
EKSCTL = "v0.215.0"
CHART = Path(__file__).parents[1] / "charts" / "verger" / "Chart.yaml"
# What the chart renders, and may come to render, and what manifests/kind and manifests/aws ask for.
KINDS = {
    "": ("ConfigMap", "Namespace", "Pod", "ResourceQuota", "Secret", "Service", "ServiceAccount"),
    "apps": ("Deployment",),
    "networking.k8s.io": ("NetworkPolicy",),
    "rbac.authorization.k8s.io": ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"),
}
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
POD_TEMPLATE = "io.k8s.api.core.v1.PodTemplateSpec"
# Kubernetes calls these strings, and takes numbers as well.
LOOSE = ("io.k8s.apimachinery.pkg.api.resource.Quantity", "io.k8s.apimachinery.pkg.util.intstr.IntOrString")

Schema = dict[str, Any]


def module(name: str, version: str) -> Path:
    """The folder of a Go module, fetched where it is not there yet."""
    command = ["go", "mod", "download", "-json", f"{name}@{version}"]
    told = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)  # no go.mod stands in the way
    answer = json.loads(told.stdout or "{}")
    if told.returncode:
        raise SystemExit(f"verger: Go could not fetch {name} {version}: {answer.get('Error') or told.stderr.strip()}")
    return Path(answer["Dir"])


def strict(node: Any) -> None:
    """Close every object whose fields are known."""
    if isinstance(node, list):
        for item in node:
            strict(item)
    elif isinstance(node, dict):
        if node.pop("x-kubernetes-int-or-string", False):
            node.pop("type", None)
            node["oneOf"] = [{"type": "string"}, {"type": "integer"}]
        if isinstance(node.get("properties"), dict) and not node.get("x-kubernetes-preserve-unknown-fields"):
            node.setdefault("additionalProperties", False)
        for value in node.values():
            strict(value)


def closure(node: Any, definitions: Schema, found: Schema) -> Schema:
    """All definitions to which a schema leads."""
    if isinstance(node, list):
        for item in node:
            closure(item, definitions, found)
    elif isinstance(node, dict):
        name = node.get("$ref")
        if isinstance(name, str) and (name := name.removeprefix("#/definitions/")) not in found:
            found[name] = definitions[name]
            closure(definitions[name], definitions, found)
        for value in node.values():
            closure(value, definitions, found)
    return found


def write(folder: Path, kind: str, group: str, version: str, schema: Schema, definitions: Schema) -> None:
    """One file, under the name by which kubeconform asks for it."""
    schema["properties"]["apiVersion"] = {"const": f"{group}/{version}".lstrip("/")}
    schema["properties"]["kind"] = {"const": kind}
    schema["required"] = sorted({"apiVersion", "kind", "metadata", *schema.get("required", [])})
    schema["definitions"] = closure(schema, definitions, {})
    suffix = f"-{group.partition('.')[0]}" if group else ""
    (folder / f"{kind.lower()}{suffix}-{version}.json").write_text(json.dumps(schema))


def kubernetes(folder: Path) -> Schema:
    """Write Kubernetes' own kinds, and return all its definitions."""
    source = module("k8s.io/kubernetes", KUBERNETES) / "api" / "openapi-spec" / "swagger.json"
    definitions: Schema = json.loads(source.read_text())["definitions"]
    definitions |= {name: {"oneOf": [{"type": "string"}, {"type": "number"}]} for name in LOOSE}
    strict(definitions)
    for schema in definitions.values():
        for known in schema.get("x-kubernetes-group-version-kind", []):
            if known["version"] == "v1" and known["kind"] in KINDS.get(known["group"], ()):
                write(folder, known["kind"], known["group"], "v1", copy.deepcopy(schema), definitions)
    return definitions


def operator(folder: Path, definitions: Schema) -> None:
    """Write the operator's kinds, with pod templates that are looked into."""
    version = yaml.safe_load(CHART.read_text())["annotations"]["verger/spark-operator"]
    chart = module("github.com/kubeflow/spark-operator/v2", f"v{version}") / "charts" / "spark-operator-chart"
    for path in sorted(chart.glob("crds/*sparkapplications.yaml")):
        crd = yaml.safe_load(path.read_text())["spec"]
        for known in crd["versions"]:
            schema = known["schema"]["openAPIV3Schema"]
            schema["properties"]["metadata"] = {"$ref": f"#/definitions/{OBJECT_META}"}
            spec = schema["properties"]["spec"]["properties"]
            if "schedule" in spec:
                spec = spec["template"]["properties"]
            for role in ("driver", "executor"):
                spec[role]["properties"]["template"] = {"$ref": f"#/definitions/{POD_TEMPLATE}"}
            strict(schema)
            write(folder, crd["names"]["kind"], crd["group"], known["name"], schema, definitions)


def monitoring(folder: Path, definitions: Schema) -> None:
    """Write the kinds of the Prometheus operator that the chart may render."""
    source = module("github.com/prometheus-operator/prometheus-operator", PROMETHEUS_OPERATOR)
    for name in ("podmonitors", "prometheusrules"):
        path = source / "example" / "prometheus-operator-crd" / f"monitoring.coreos.com_{name}.yaml"
        crd = yaml.safe_load(path.read_text())["spec"]
        for known in crd["versions"]:
            schema = known["schema"]["openAPIV3Schema"]
            schema["properties"]["metadata"] = {"$ref": f"#/definitions/{OBJECT_META}"}
            strict(schema)
            write(folder, crd["names"]["kind"], crd["group"], known["name"], schema, definitions)


def eksctl(folder: Path) -> None:
    """Write that of a ClusterConfig, whose sources close every object themselves."""
    assets = module("github.com/weaveworks/eksctl", EKSCTL) / "pkg" / "apis" / "eksctl.io" / "v1alpha5" / "assets"
    definitions: Schema = json.loads((assets / "schema.json").read_text())["definitions"]
    config = copy.deepcopy(definitions["ClusterConfig"])
    write(folder, "ClusterConfig", "eksctl.io", "v1alpha5", config, definitions)


def main() -> None:
    """Write them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    definitions = kubernetes(folder)
    operator(folder, definitions)
    monitoring(folder, definitions)
    eksctl(folder)


if __name__ == "__main__":
    main()
