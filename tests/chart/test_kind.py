"""What stands around a run on kind: manifests that Kubernetes takes, and values that fit them."""

import json

import pytest
import yaml

from tests.chart.conftest import CHART, Objects
from tests.conftest import ROOT

pytestmark = pytest.mark.required_in_ci

MANIFESTS = ROOT / "manifests" / "kind"


def documents(name):
    return Objects(yaml.safe_load_all((MANIFESTS / name).read_text().replace("STORE_IMAGE", "store:1")))


def test_the_manifests_for_kind_are_valid(check_objects):
    check_objects(documents("namespace.yaml") + documents("store.yaml"))


def test_the_operator_gets_no_account_for_pods():
    """The chart's have fewer rights."""
    spark = yaml.safe_load((MANIFESTS / "operator-values.yaml").read_text())["spark"]
    assert spark["serviceAccount"]["create"] is spark["rbac"]["create"] is False


def test_an_operator_that_is_there_already_gets_the_cpu_of_the_values():
    values = yaml.safe_load((MANIFESTS / "operator-values.yaml").read_text())
    cpu = {name: values[name]["resources"]["requests"]["cpu"] for name in ("controller", "webhook")}
    given = "\\n".join(f"{name} {asked}" for name, asked in cpu.items())
    assert f"<<<$'{given}'" in (ROOT / "scripts" / "kind").read_text()


def test_the_values_for_kind_name_the_store():
    values = yaml.safe_load((CHART / "ci" / "kind-values.yaml").read_text())
    store = documents("store.yaml")
    service, deployment = store.one("Service"), store.one("Deployment")
    name, port = service["metadata"]["name"], service["spec"]["ports"][0]["port"]
    assert values["run"]["endpoint_url"] == f"http://{name}.{service['metadata']['namespace']}:{port}"
    assert values["networkPolicy"]["store"] == {
        "namespace": deployment["metadata"]["namespace"],
        "podLabels": deployment["spec"]["template"]["metadata"]["labels"],
    }
    region = {"name": "MINIO_REGION", "value": values["run"]["region"]}
    assert region in deployment["spec"]["template"]["spec"]["containers"][0]["env"]


def test_nodes_of_the_kind_cluster_have_a_region_that_the_chart_allows():
    cluster = yaml.safe_load((MANIFESTS / "cluster.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    allowed = schema["properties"]["residency"]["properties"]["regions"]["items"]["enum"]
    workers = [node for node in cluster["nodes"] if node["role"] == "worker"]
    assert {node["labels"]["topology.kubernetes.io/region"] for node in workers} <= set(allowed)
