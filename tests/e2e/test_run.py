"""One release is one run: 672 real photographs, two executors on two nodes, and the table a machine alone makes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import verger
from tests.e2e import event_log, room
from tests.e2e.cluster import Cluster, helm_of
from tests.e2e.conftest import INPUT, OUTPUT, Finished
from tests.e2e.outcomes import OUTCOMES
from tests.e2e.tables import assert_same_components, assert_same_features, rows
from verger.storage.stores import Stores
from verger.storage.uri import join
from verger.tables import manifest, runs

pytestmark = pytest.mark.required_in_ci

PHOTOGRAPHS = 672


@pytest.fixture(scope="module")
def run(first: Finished) -> runs.Run:
    return first.run


@pytest.fixture(scope="module")
def published(run: runs.Run) -> dict[str, Any]:
    return manifest.read(run).as_dict()


def test_every_photograph_is_in_the_table(run: runs.Run, published: dict[str, Any], first: Finished) -> None:
    counts = published["photographs"]
    assert published["config"]["name"] == first.release.name
    assert counts["listed"] == counts["computed"] == counts["projected"] == PHOTOGRAPHS
    assert counts["rejected"] == counts["known"] == 0
    assert verger.load(run.folder).num_rows == PHOTOGRAPHS


def test_two_executors_worked_on_two_nodes(first: Finished) -> None:
    executors = [pod for pod in first.observer.pods.values() if pod["metadata"]["labels"]["spark-role"] == "executor"]
    assert len(executors) == 2
    assert len({pod["spec"]["nodeName"] for pod in executors}) == 2


def test_pods_ask_for_the_memory_that_is_looked_for_before_the_tests(first: Finished) -> None:
    asked = {"driver": room.DRIVER, "executor": room.EXECUTOR}
    assert {pod["metadata"]["labels"]["spark-role"] for pod in first.observer.pods.values()} == set(asked)
    for pod in first.observer.pods.values():
        assert room.requested(pod) == asked[pod["metadata"]["labels"]["spark-role"]]


def test_both_executors_extracted_and_the_driver_did_not(first: Finished, store: Any) -> None:
    application = first.release.status["sparkApplicationId"]
    events = event_log.read(store, "lake", "e2e-events", application)
    assert set(event_log.tasks_by_executor(events, "features")) == {"1", "2"}


def test_features_equal_those_of_a_local_run(run: runs.Run, local: Path, photographs: Path) -> None:
    here = rows(verger.load_features(str(local)), "features", str(photographs))
    there = rows(verger.load_features(run.folder), "features", f"{INPUT}/Test")
    assert_same_features(there, here)


def test_components_equal_those_of_a_local_run(run: runs.Run, local: Path, photographs: Path) -> None:
    here = rows(verger.load(str(local)), "pca_features", str(photographs))
    there = rows(verger.load(run.folder), "pca_features", f"{INPUT}/Test")
    assert_same_components(there, here)


def test_the_report_is_beside_the_table(run: runs.Run, published: dict[str, Any]) -> None:
    page = run.storage.read(join(run.output, published["report"]["path"])).decode()
    assert page.startswith("<!doctype html>")
    assert "data:image/jpeg;base64," in page
    assert published["classifier"]["accuracy"] > published["classifier"]["baselines"]["majority"]
    assert published["audit"]["counts"]["near_duplicate"]["found"] > 0
    assert not [line for line in published["warnings"] if re.search("drawn|fitted|audited|threshold", line)]


@pytest.mark.parametrize("major", [3, 4])
def test_a_second_release_computes_nothing(major: int, first: Finished, release: Any, tmp_path: Path) -> None:
    program = helm_of(major)
    if not program:
        pytest.skip(f"no helm {major} on the PATH: `make programs` builds it")
    second = release(f"e2e-second-helm{major}", program)
    with OUTCOMES.promise(f"the release again, by helm {major}", "0, without an executor") as outcome:
        second.install(tmp_path, {"run": {"input": INPUT, "output": OUTPUT}})
        outcome.saw(second.ended(), to_the_end=second.seconds)
        assert second.state == "COMPLETED"
        published = runs.latest(Stores().of(OUTPUT), OUTPUT, second.name)
        assert published is not None
        document = manifest.read(published).as_dict()
        counts = document["photographs"]
        assert (counts["known"], counts["computed"]) == (PHOTOGRAPHS, 0)
        # and there was no Spark, which would have asked for executors: the first run's table stands
        assert not {"session", "features"} & {event["stage"] for event in second.events() if event["event"] == "stage"}
        assert not second.status.get("executorState")  # where the operator keeps what became of every executor
        outcome.saw("without an executor")
        assert document["same_as"] == first.run.run_id
        assert verger.load(published.folder).num_rows == PHOTOGRAPHS
    second.uninstall()
    assert not {thing for thing in first.release.cluster.things() if second.name in thing}


# Lines that the JVM and TensorFlow write by themselves.
NATIVE = re.compile(
    r"WARNING: (Using incubator modules|All log messages before absl|Unknown module)|"
    r"[IWE]\d{4} \d\d:\d\d|Picked up JAVA_TOOL|Using Spark's default log4j"
)


def test_the_log_is_json_and_ends_with_the_summary(first: Finished, published: dict[str, Any]) -> None:
    lines = first.log.splitlines()
    assert not [line for line in lines if not line.startswith("{") and not NATIVE.match(line)]
    parsed = [json.loads(line) for line in lines if line.startswith("{")]
    ours = [line for line in parsed if line.get("logger") == "verger"]
    assert ours[-1]["event"] == "done"
    assert ours[-1]["run_id"] == published["run_id"]
    assert ours[-1]["computed"] == PHOTOGRAPHS
    assert {"ts", "level", "event"} <= set.intersection(*(set(line) for line in ours))
    progress = [line for line in ours if line["event"] == "progress"]
    assert progress[-1]["done"] == progress[-1]["total"] == PHOTOGRAPHS


def test_the_wait_for_executors_is_told_while_it_lasts(first: Finished) -> None:
    """Spark itself waits for them as its context starts, before it can say how many there are."""
    lines = [json.loads(line) for line in first.log.splitlines() if line.startswith("{")]
    waits = [line for line in lines if line.get("waiting_for") == "executors"]
    assert waits[0]["ready"] < waits[0]["total"]
    assert (waits[-1]["ready"], waits[-1]["total"]) == (2, 2)


def test_prometheus_metrics_equal_the_manifest(first: Finished, published: dict[str, Any]) -> None:
    read = [answer for answer in first.observer.scraped if "photographs_done" in answer]
    assert read, first.observer.scraped[-3:]
    assert read[-1]["photographs_done"] == published["photographs"]["computed"]
    assert read[-1]["photographs_listed"] == published["photographs"]["listed"]


def test_uninstalling_leaves_nothing_but_the_data(first: Finished, run: runs.Run, cluster: Cluster) -> None:
    assert f"pod/{first.release.name}-driver" in first.made
    first.release.uninstall()
    assert not first.made & cluster.things()
    assert verger.load(run.folder).num_rows == PHOTOGRAPHS
