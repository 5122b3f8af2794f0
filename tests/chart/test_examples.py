"""Every way of using the chart that we show: it lints, renders, and Kubernetes would take it."""

from pathlib import Path

import pytest
import yaml

from tests.chart.conftest import CHART, EXAMPLES, LEAST, Helm, Objects, invalid, merge_values
from verger.config import RunConfig

pytestmark = pytest.mark.required_in_ci


@pytest.fixture(params=EXAMPLES, ids=lambda path: path.stem.removesuffix("-values"))
def example(request):
    return yaml.safe_load(request.param.read_text())


def test_there_is_an_example_for_each_kind_of_cluster():
    names = {path.name.removesuffix("-values.yaml") for path in EXAMPLES}
    assert names == {"eks-irsa", "eks-pod-identity", "kind", "other-cloud", "sovereign-cloud", "spot"}


def test_each_example_passes_helm_lint(helm, example):
    done = helm.run("lint --strict", str(CHART), values=example)
    assert done.returncode == 0, done.stdout


def test_each_example_renders_valid_manifests(helm, example, check_objects):
    check_objects(helm.render(example))


def test_each_example_renders_a_valid_run_configuration(helm3, example):
    RunConfig(**yaml.safe_load(helm3.render(example).config))


def test_executors_of_an_example_fit_nodes_with_as_many_cores(example):
    """The kubelet and daemons take a part of a node: 80 m of 4 vCPUs on EKS, and some 200 m for its add-ons."""
    executor = example.get("executor", {})
    if (cores := executor.get("cores", 1)) > 1:
        assert int(executor["coreRequest"].removesuffix("m")) <= 1000 * cores - 300
        assert executor["spreadOverNodes"] is False


@pytest.mark.parametrize("more", [
    {"command": "project", "fittedRun": "s3://results/verger"},
    {"command": "compact"},
    {"suspend": True, "timeToLiveSeconds": 3600, "deadlineSeconds": None, "retries": 0, "totalDeadlineSeconds": 60},
    {role: {"ephemeralStorageRequest": "1Gi", "ephemeralStorageLimit": "2Gi", "emptyDirSizeLimit": "1Gi"}
     for role in ("driver", "executor")},
    {"caBundle": {"configMap": "authority"}, "credentials": {"existingSecret": "keys", "podIdentity": True}},
    {role: {"extraEnv": [{"name": "A", "value": "b"}], "extraEnvFrom": [{"secretRef": {"name": "keys"}}],
            "volumes": [{"name": "w", "persistentVolumeClaim": {"claimName": "w"}}],
            "volumeMounts": [{"name": "w", "mountPath": "/w", "readOnly": True}]} for role in ("driver", "executor")},
    {"proxy": {"url": "http://proxy.example:3128", "noProxy": "a.example", "addresses": ["10.0.9.0/24"]}},
    {"schedule": {"cron": "0 3 * * *", "timeZone": "Europe/Paris"}, "applicationLabels": {"a": "b"}},
    {"run": {"verify_nodes": True, "allow_london": "an adequacy decision"}},
    {"metrics": {"enabled": True, "namespaceLabels": {"a": "b"}}},
    {"metrics": {"enabled": True, "namespaceLabels": {"a": "b"}, "podMonitor": {"enabled": True, "labels": {"a": "b"}},
                 "prometheusRule": {"enabled": True, "labels": {"a": "b"}}}},
    {"securityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}},
    {"image": {"pullSecrets": ["registry"]}, "sparkConf": {"spark.kubernetes.allocation.batch.size": "10"}},
    {"spot": {"enabled": True, "tolerations": [{"key": "spot", "operator": "Exists"}]}},
    {"driver": {"priorityClassName": "high", "nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}],
                "nodeExpressions": [{"key": "a", "operator": "Exists"}], "labels": {"a": "b"},
                "annotations": {"a": "b"}, "coreRequest": "500m", "memoryOverhead": "3g",
                "volumes": [{"name": "w", "emptyDir": {}}], "volumeMounts": [{"name": "w", "mountPath": "/w"}]}},
], ids="-".join)  # fmt: skip
def test_other_combinations_of_values_render_valid_manifests(helm, more, check_objects):
    check_objects(helm.render(more))


def test_the_whole_values_file_is_accepted(helm, check_objects):
    """As one who copies values.yaml would give them."""
    check_objects(helm.render(merge_values(yaml.safe_load((CHART / "values.yaml").read_text()), LEAST)))


@pytest.mark.parametrize("cron", ["", "@daily"])
@pytest.mark.parametrize("role", ["driver", "executor"])
def test_the_schemas_find_an_unknown_field_in_a_pod_template(helm3: Helm, schemas: Path, role: str, cron: str):
    objects: Objects = helm3.render({"schedule": {"cron": cron}})
    objects.pod(role)["nodSelector"] = {"a": "b"}
    assert "nodSelector" in invalid(objects, schemas)
