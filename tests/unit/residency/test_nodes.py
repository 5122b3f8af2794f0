"""residency/nodes: Kubernetes' own client over TLS, against a server that answers as its API does."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.kubernetes_api import LABEL, Api, pod, serving
from verger.config import RunConfig
from verger.errors import ResidencyError
from verger.redaction import redact
from verger.residency import nodes


class Spark:
    """The part of a session that is used, with jobs that end when they are cancelled."""

    def __init__(self, master: str = "k8s://https://kubernetes.default.svc") -> None:
        self.sparkContext = self
        self.master = master
        self.applicationId = "spark-1"
        self.cancelled = threading.Event()

    def cancelAllJobs(self) -> None:
        self.cancelled.set()

    def job(self) -> None:
        assert self.cancelled.wait(20), "the job was not cancelled"
        raise RuntimeError("Job 0 cancelled")


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The cluster of this process's pod, which is called driver."""
    monkeypatch.setattr(nodes, "_RETRY_S", 0.05)
    with serving(tmp_path, monkeypatch) as server:
        yield server


CONFIG = RunConfig(input="i", output="o", verify_nodes=True)


def checked(spark: Spark, config: RunConfig = CONFIG) -> contextlib.AbstractContextManager[nodes.Executors]:
    return nodes.check_executors(spark.sparkContext, config)  # type: ignore[arg-type]


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


# --- The driver


def test_the_drivers_region_is_in_the_label_of_its_pod(api: Api) -> None:
    api.pods["driver"], api.forbidden = pod("driver", "node-1", "eu-west-3"), {"/nodes/"}
    assert nodes.check_driver(CONFIG) == "eu-west-3"


def test_the_drivers_region_is_in_the_label_of_its_node(api: Api) -> None:
    api.pods["driver"], api.nodes = pod("driver", "node-1"), {"node-1": "eu-north-1"}
    assert nodes.check_driver(CONFIG) == "eu-north-1"


def test_a_driver_outside_the_eu_needs_an_opt_in(api: Api) -> None:
    api.pods["driver"], api.nodes = pod("driver", "node-1"), {"node-1": "eu-west-2"}
    with pytest.raises(ResidencyError, match=r"the driver's node is in eu-west-2 \(London\)"):
        nodes.check_driver(CONFIG)
    assert nodes.check_driver(CONFIG.model_copy(update={"allow_london": "adequacy decision of 2021"})) == "eu-west-2"


def test_a_region_of_another_cloud_must_be_declared(api: Api) -> None:
    api.pods["driver"], api.nodes = pod("driver", "node-1"), {"node-1": "fr-par"}
    with pytest.raises(ResidencyError, match="in fr-par, which is not known to be in the EU.*--node-region fr-par:"):
        nodes.check_driver(CONFIG)
    with pytest.raises(ResidencyError, match="fr-par"):
        nodes.check_driver(CONFIG.model_copy(update={"node_region": ("nl-ams:NL:DPA with Scaleway",)}))
    declared = CONFIG.model_copy(update={"node_region": ("nl-ams:NL:DPA with Scaleway", "fr-par:FR:DPA with Scaleway")})
    assert nodes.check_driver(declared) == "fr-par"
    api.pods["exec-1"] = pod("exec-1", "node-1", "fr-par")
    with checked(Spark(), declared) as executors:
        assert executors.regions == {"exec-1": "fr-par"}


@pytest.mark.parametrize(
    ("forbidden", "words"),
    [
        ("/nodes/", "does not let this service account get nodes.*get on nodes by a ClusterRole"),
        ("/pods/", "does not let this service account get pods"),
    ],
)
def test_the_error_names_the_missing_permission(api: Api, forbidden: str, words: str) -> None:
    api.pods["driver"], api.nodes = pod("driver", "node-1"), {"node-1": "eu-west-3"}
    api.forbidden = {forbidden}
    with pytest.raises(ResidencyError, match=words):
        nodes.check_driver(CONFIG)


def test_a_node_without_the_label_is_refused(api: Api) -> None:
    api.pods["driver"], api.nodes = pod("driver", "node-1"), {"node-1": None}
    with pytest.raises(ResidencyError, match=f"neither pod driver nor its node node-1 has the label {LABEL}"):
        nodes.check_driver(CONFIG)


def test_a_pod_that_is_not_found_or_an_api_that_does_not_answer_is_refused(api: Api) -> None:
    with pytest.raises(ResidencyError, match="get pods: 404"):
        nodes.check_driver(CONFIG)
    api.broken = True
    with pytest.raises(ResidencyError, match="the region of the driver's node is unknown"):
        nodes.check_driver(CONFIG)


def test_a_token_that_ends_in_a_line_break_is_refused_and_not_shown(api: Api, tmp_path: Path) -> None:
    """The client of Kubernetes would quote it in the error of its request."""
    (tmp_path / "token").write_text("Tn5Rb1Ly8Hd4Mf6Js2Gc\n")
    with pytest.raises(ResidencyError, match="token of the pod's service account holds a line break at its end") as it:
        nodes.check_driver(CONFIG)
    assert "Tn5Rb1" not in it.value.line
    assert redact("Tn5Rb1Ly8Hd4Mf6Js2Gc") == "***"


def test_outside_a_cluster_verification_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ResidencyError, match="this process is not in a pod"):
        nodes.check_driver(CONFIG)


# --- The executors


def test_running_and_new_executors_are_checked(api: Api) -> None:
    api.pods["exec-1"], api.nodes = pod("exec-1", "node-1"), {"node-1": "eu-west-3"}
    with checked(Spark()) as executors:
        assert executors.regions == {"exec-1": "eu-west-3"}
        wait_for(lambda: api.watches)
        api.joins("ADDED", pod("exec-2"))  # it has no node yet
        api.joins("MODIFIED", pod("exec-2", "node-2", "eu-north-1"))
        wait_for(lambda: len(executors.regions) == 2)
    assert executors.evidence == [
        f"1 executor ran on nodes in eu-north-1 ({LABEL})",
        f"1 executor ran on nodes in eu-west-3 ({LABEL})",
    ]


def test_an_executor_outside_the_eu_ends_the_run_before_its_first_job(api: Api) -> None:
    api.pods["exec-1"] = pod("exec-1", "node-1", "us-east-1")
    with pytest.raises(ResidencyError, match="the node of executor exec-1 is in us-east-1"), checked(Spark()):
        pytest.fail("the body ran")


def test_a_new_executor_outside_the_eu_cancels_the_jobs_and_ends_the_run(api: Api) -> None:
    api.pods["exec-1"] = pod("exec-1", "node-1", "eu-west-3")
    spark = Spark()
    with pytest.raises(ResidencyError, match="the node of executor exec-2 is in us-east-1"), checked(spark):
        wait_for(lambda: api.watches)
        api.joins("ADDED", pod("exec-2"))
        api.joins("MODIFIED", pod("exec-2", "node-9", "us-east-1"))
        spark.job()


def test_a_run_that_starts_further_jobs_is_cancelled_again_and_refused_at_its_end(api: Api) -> None:
    api.pods["exec-1"] = pod("exec-1", "node-1", "eu-west-3")
    spark, ended = Spark(), 0
    with pytest.raises(ResidencyError, match="us-east-1"), checked(spark):
        wait_for(lambda: api.watches)
        api.joins("ADDED", pod("exec-2", "node-9", "us-east-1"))
        for _ in range(4):
            with contextlib.suppress(RuntimeError):
                spark.job()
            ended += 1
            api.pods.pop("exec-2", None)  # it has gone, and what it may have read has not come back
            spark.cancelled.clear()
    assert ended == 4


def test_a_run_can_ask_for_a_refusal_before_its_first_job(api: Api) -> None:
    """Executors are watched beside a long listing: one that comes meanwhile must not be sent anything."""
    api.pods["exec-1"] = pod("exec-1", "node-1", "eu-west-3")
    spark = Spark()
    with pytest.raises(ResidencyError, match="us-east-1"), checked(spark) as executors:
        executors.raise_if_refused()
        wait_for(lambda: api.watches)
        api.joins("ADDED", pod("exec-2", "node-9", "us-east-1"))
        spark.cancelled.wait(20)
        executors.raise_if_refused()
        pytest.fail("the first job was sent")


def test_an_error_of_the_run_itself_is_passed_on(api: Api) -> None:
    api.pods["exec-1"] = pod("exec-1", "node-1", "eu-west-3")
    with pytest.raises(ZeroDivisionError), checked(Spark()):
        raise ZeroDivisionError


def test_a_broken_watch_is_restarted(api: Api) -> None:
    api.pods["exec-1"] = pod("exec-1", "node-1", "eu-west-3")
    with checked(Spark()) as executors:
        wait_for(lambda: api.watches)
        api.broken = True
        api.hangs_up()
        wait_for(lambda: not api.watches)
        api.joins("ADDED", pod("exec-2", "node-1", "eu-west-3"))  # while no watch is open
        api.broken = False
        wait_for(lambda: "exec-2" in executors.regions)


def test_an_api_that_does_not_answer_for_long_ends_the_run(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "PATIENCE_S", 0.2)
    api.pods["exec-1"] = pod("exec-1", "node-1", "eu-west-3")
    spark = Spark()
    with pytest.raises(ResidencyError, match="the region of an executor's node is unknown"), checked(spark):
        wait_for(lambda: api.watches)
        api.broken = True
        api.hangs_up()
        spark.job()


def test_a_missing_or_revoked_permission_ends_the_run(api: Api) -> None:
    api.forbidden = {"/pods"}
    with pytest.raises(ResidencyError, match="does not let this service account list pods"), checked(Spark()):
        pytest.fail("the body ran")
    api.forbidden, api.pods["exec-1"] = set(), pod("exec-1", "node-1", "eu-west-3")
    spark = Spark()
    with pytest.raises(ResidencyError, match="does not let this service account watch pods"), checked(spark):
        wait_for(lambda: api.watches)
        api.forbidden = {"/pods"}
        api.hangs_up()
        spark.job()


def test_a_node_that_has_just_been_removed_does_not_end_the_run(api: Api) -> None:
    """A spot machine may be removed between the event of its pod and the request for its node."""
    api.pods["exec-1"] = pod("exec-1", "node-1", "eu-west-3")
    with checked(Spark()) as executors:
        wait_for(lambda: api.watches)
        api.joins("ADDED", pod("exec-2", "gone"))
        wait_for(lambda: len(api.watches) > 1)  # it asks again
        del api.pods["exec-2"]
        api.joins("ADDED", pod("exec-3", "node-1", "eu-west-3"))
        wait_for(lambda: "exec-3" in executors.regions)


def test_a_run_without_any_executor_found_is_refused(api: Api) -> None:
    with pytest.raises(ResidencyError, match="no executor's pod was found"), checked(Spark()):
        pass


def test_only_kubernetes_executors_can_be_verified() -> None:
    with pytest.raises(ResidencyError, match="executors of spark://host:7077"), checked(Spark("spark://host:7077")):
        pytest.fail("the body ran")


@pytest.mark.parametrize(
    ("master", "verify"), [("local[2]", True), ("k8s://https://kubernetes.default.svc", False), ("yarn", False)]
)
def test_executors_are_not_checked_inside_the_driver_or_without_verify_nodes(master: str, verify: bool) -> None:
    with checked(Spark(master), CONFIG.model_copy(update={"verify_nodes": verify})) as executors:
        assert executors.evidence == []
