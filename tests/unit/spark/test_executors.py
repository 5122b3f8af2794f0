"""spark/executors and spark/pods: what is told of executors, from pods as Kubernetes' API describes them."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyspark
import pytest

from tests.conftest import ROOT
from tests.unit.kubernetes_api import Api, serving
from verger.spark import executors, pods, variables
from verger.spark.executors import missing, watch_executors

PODS: dict[str, dict[str, Any]] = json.loads((ROOT / "tests" / "data" / "executor-pods.json").read_text())


def found(*names: str) -> list[dict[str, Any]]:
    return [PODS[name] for name in names]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("created", "not scheduled yet"),
        ("insufficient_memory", "Insufficient memory"),
        (
            "several_causes",
            "of 4 nodes 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, "
            "1 Insufficient cpu, 2 node(s) didn't match Pod's node affinity/selector",
        ),
        ("no_nodes", "no nodes available to schedule pods"),
        ("wrong_zone", "didn't match Pod's node affinity/selector"),
        ("gated", "Scheduling is blocked due to non-empty scheduling gates"),
        ("creating", "ContainerCreating"),
        ("image_pull", 'ImagePullBackOff (Back-off pulling image "verger:nowhere")'),
        ("init_container", 'CreateContainerConfigError (secret "store-ca" not found)'),
    ],
)
def test_a_pod_says_why_it_does_not_run(name: str, reason: str) -> None:
    assert pods.why_pending(found("running", name)) == [(reason, 1)]


def test_a_long_reason_is_cut() -> None:
    message = "0/2 nodes are available: 2 " + "x" * 500
    status = {"conditions": [{"type": "PodScheduled", "status": "False", "message": message}]}
    ((reason, _),) = pods.why_pending([{"status": status}])
    assert len(reason) == 160 and reason.endswith("x…")


def test_executors_are_counted_with_the_reasons_of_those_that_are_missing() -> None:
    two = found("running", "running", "insufficient_memory", "insufficient_memory")
    assert missing(two, 2, 4) == (2, 4, "2 pending: Insufficient memory")
    mixed = found("running", "running", "insufficient_memory", "creating", "creating")
    assert missing(mixed, 1, 6) == (
        1, 6, "1 starting; 2 pending: ContainerCreating; 1 pending: Insufficient memory; 1 without a pod yet"
    )  # fmt: skip


def test_without_spark_running_pods_are_counted_and_without_pods_sparks_executors() -> None:
    assert missing(found("running", "creating"), None, None) == (1, 2, "1 pending: ContainerCreating")
    assert missing(None, 1, 3) == (1, 3, "")
    assert missing(None, None, None) == missing([], None, None) == (0, 0, "")


def test_executors_for_which_kubernetes_has_no_pod_are_told_of() -> None:
    """As where a quota of the namespace is used up."""
    assert missing([], 0, 2) == (0, 2, "2 without a pod yet")
    assert missing([], 1, 2) == (1, 2, "1 without a pod yet")


def test_with_dynamic_allocation_as_many_are_wanted_as_there_are_pods() -> None:
    assert missing(found("running", "running", "created"), 2, None) == (2, 3, "1 pending: not scheduled yet")


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    with serving(tmp_path, monkeypatch) as server:
        yield server


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A SparkContext of spark-submit: four executors are wanted, two are registered."""
    here = SimpleNamespace(size=lambda: 3)  # with the driver
    context = SimpleNamespace(
        master="k8s://https://kubernetes.default.svc",
        applicationId="spark-1",
        getConf=lambda: {"spark.executor.instances": "4"},
        _jsc=SimpleNamespace(sc=lambda: SimpleNamespace(getExecutorMemoryStatus=lambda: here)),
    )
    monkeypatch.setattr(variables, "is_submitted", lambda: True)
    monkeypatch.setattr(executors, "_INTERVAL_S", 0.01)
    monkeypatch.setattr(pyspark.SparkContext, "_active_spark_context", context)
    return context


def first_told() -> tuple[int, int, str]:
    told: list[tuple[int, int, str]] = []
    seen = threading.Event()

    def show(*state: Any) -> None:
        told.append(state)
        seen.set()

    with watch_executors(show):
        assert seen.wait(30)
    return told[0]


def test_the_pods_of_this_application_are_asked_for(api: Api, context: SimpleNamespace) -> None:
    names = ("running", "leaving", "evicted", "running", "insufficient_memory", "insufficient_memory")
    api.pods = {f"exec-{number}": PODS[name] for number, name in enumerate(names)}
    assert first_told() == (2, 4, "2 pending: Insufficient memory")


@pytest.mark.parametrize("starting", [True, False], ids=["the context starts", "there is no context"])
def test_before_the_context_is_there_the_application_is_that_of_the_drivers_pod(
    api: Api, context: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, starting: bool
) -> None:
    # As PySpark's constructor makes it known before its JVM has started, and until then has waited for executors.
    nascent = pyspark.SparkContext.__new__(pyspark.SparkContext)
    nascent.master, nascent._conf = context.master, pyspark.SparkConf(loadDefaults=False)
    nascent._conf.set("spark.executor.instances", "4")
    monkeypatch.setattr(pyspark.SparkContext, "_active_spark_context", nascent if starting else None)
    monkeypatch.setenv("SPARK_APPLICATION_ID", "spark-1")
    api.pods = {"exec-1": PODS["image_pull"]}
    why = '1 pending: ImagePullBackOff (Back-off pulling image "verger:nowhere")'
    assert first_told() == ((0, 4, f"{why}; 3 without a pod yet") if starting else (0, 1, why))


@pytest.mark.parametrize("broken", [True, False])
def test_without_an_answer_or_a_permission_executors_are_counted_without_reasons(
    api: Api, context: SimpleNamespace, broken: bool
) -> None:
    api.broken, api.forbidden = broken, {"/pods"}
    assert first_told() == (2, 4, "")


def test_in_no_pod_executors_are_counted_without_reasons(
    context: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pods, "NAMESPACE_FILE", tmp_path / "none")
    assert first_told() == (2, 4, "")
