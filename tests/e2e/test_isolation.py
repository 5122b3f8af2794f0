"""What a run's pods may, and what they may not: seen in the pods themselves while they worked."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.e2e.conftest import Finished
from verger.residency import regions

pytestmark = pytest.mark.required_in_ci

REGION = "topology.kubernetes.io/region"


def pods(first: Finished, role: str) -> list[dict[str, Any]]:
    return [pod for pod in first.observer.pods.values() if pod["metadata"]["labels"]["spark-role"] == role]


def test_the_driver_reaches_kubernetes_and_the_store_alone(first: Finished) -> None:
    seen = first.observer
    assert seen.reached["driver"] == {seen.api: True, seen.store: True, seen.elsewhere: False}


def test_executors_reach_only_the_store_and_have_no_token(first: Finished) -> None:
    seen = first.observer
    assert seen.reached["executor"] == {seen.api: False, seen.store: True, seen.elsewhere: False}
    assert "token" in seen.files["driver"]
    assert seen.files["executor"].strip() == ""


@pytest.mark.parametrize("role", ["driver", "executor"])
def test_pods_ask_for_nodes_in_the_eu_also_after_the_webhook(first: Finished, role: str) -> None:
    for pod in pods(first, role):
        required = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        for term in required["nodeSelectorTerms"]:
            (wanted,) = [expression for expression in term["matchExpressions"] if expression["key"] == REGION]
            assert wanted["operator"] == "In"
            assert set(wanted["values"]) <= regions.EU
            for label, value in {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"}.items():
                assert {"key": label, "operator": "In", "values": [value]} in term["matchExpressions"]


@pytest.mark.parametrize("role", ["driver", "executor"])
def test_pods_are_restricted(first: Finished, role: str) -> None:
    for pod in pods(first, role):
        (container,) = pod["spec"]["containers"]
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"]["drop"] == ["ALL"]
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True


def test_metrics_are_served_to_allowed_pods_alone(first: Finished) -> None:
    assert [answer for answer in first.observer.scraped if "photographs_done" in answer]
    assert first.observer.refused
    assert all("error" in answer for answer in first.observer.refused)
    assert {"timed out", "<urlopen error timed out>"} & {answer["error"] for answer in first.observer.refused}


def test_the_operator_logs_no_key(first: Finished, store: Any) -> None:
    said = first.release.cluster.kubectl(
        "logs", "--selector", "app.kubernetes.io/name=spark-operator", "--tail=-1", namespace="spark-operator"
    )
    assert first.release.name in said
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in said + first.log
    assert os.environ["AWS_ACCESS_KEY_ID"] not in said + first.log
