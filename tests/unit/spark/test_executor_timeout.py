"""spark/executor_timeout: a run without executors ends, with the reason that Kubernetes gives."""

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
from verger.errors import DoesNotFitError
from verger.spark import executor_timeout, pods
from verger.spark.executor_timeout import Absence, end_without_executors

PODS: dict[str, dict[str, Any]] = json.loads((ROOT / "tests" / "data" / "executor-pods.json").read_text())


class Context:
    """A SparkContext of spark-submit whose job waits for two executors."""

    def __init__(self) -> None:
        self.master = "k8s://https://kubernetes.default.svc"
        self.applicationId = "spark-1"
        self.executors = 0
        self.jobs = [0]
        self.cancelled = threading.Event()
        self.counted = threading.Semaphore(0)
        self._jsc = SimpleNamespace(sc=lambda: self)

    def getConf(self) -> dict[str, str]:
        return {"spark.executor.instances": "2"}

    def statusTracker(self) -> Context:
        return self

    def getActiveJobsIds(self) -> list[int]:
        return self.jobs

    def getExecutorMemoryStatus(self) -> Context:
        return self

    def size(self) -> int:
        self.counted.release()
        return 1 + self.executors

    def cancelAllJobs(self) -> None:
        self.cancelled.set()

    def works(self) -> None:
        """As a call that waits for Spark's jobs: it fails where they are cancelled."""
        assert self.cancelled.wait(30)
        raise RuntimeError("job 0 was cancelled")

    def is_counted(self, times: int) -> None:
        """Return when the executors were counted so often from now on."""
        while self.counted.acquire(blocking=False):
            pass
        for _ in range(times):
            assert self.counted.acquire(timeout=30)


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Context:
    context = Context()
    monkeypatch.setattr(executor_timeout, "_INTERVAL_S", 0.01)
    monkeypatch.setattr(pods, "NAMESPACE_FILE", tmp_path / "none")
    monkeypatch.setattr(pyspark.SparkContext, "_active_spark_context", context)
    return context


@pytest.fixture
def api(tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch) -> Any:
    with serving(tmp_path, monkeypatch) as server:
        yield server


def ended(context: Any, timeout_s: float = 0.02) -> DoesNotFitError:
    """How a run ends whose jobs wait for executors."""
    with pytest.raises(DoesNotFitError) as found, end_without_executors(context, timeout_s):
        context.works()
    return found.value


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["insufficient_memory", "insufficient_memory"], "2 pending: Insufficient memory"),
        (["image_pull"], '1 pending: ImagePullBackOff (Back-off pulling image "verger:nowhere"); 1 without a pod yet'),
        (["running", "running"], "2 starting"),
        ([], "2 without a pod yet"),
    ],
)
def test_a_run_to_which_no_executor_comes_ends_with_the_reason_of_kubernetes(
    api: Api, context: Context, names: list[str], why: str
) -> None:
    api.pods = {f"exec-{number}": PODS[name] for number, name in enumerate(names)}
    error = ended(context)
    assert error.exit_code == 8
    assert error.what == f"none of 2 executors has come in 0.02 s ({why})"
    assert "--executors-timeout" in error.advice and "\n" not in error.line
    assert str(error.__cause__) == "job 0 was cancelled"


@pytest.mark.parametrize("broken", [True, False])
def test_without_an_answer_or_a_permission_it_ends_without_a_reason(api: Api, context: Context, broken: bool) -> None:
    api.broken, api.forbidden = broken, {"/pods"}
    assert ended(context).what == "none of 2 executors has come in 0.02 s"


def test_in_no_pod_it_ends_without_a_reason(context: Context) -> None:
    assert ended(context).what == "none of 2 executors has come in 0.02 s"


def test_where_no_number_is_asked_for_none_is_said(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "getConf", lambda: {"spark.dynamicAllocation.enabled": "true"})
    assert ended(context).what == "no executor has come in 0.02 s"


def test_a_run_whose_executors_have_all_gone_ends_too(context: Context) -> None:
    context.executors = 1
    with pytest.raises(DoesNotFitError) as found, end_without_executors(context, 0.02):  # type: ignore[arg-type]
        context.is_counted(3)
        context.executors = 0
        context.works()
    assert found.value.what == "all executors are gone, and none of 2 executors has come back in 0.02 s"


def test_one_executor_is_enough_to_go_on(context: Context) -> None:
    context.executors = 1
    with end_without_executors(context, 0.02):  # type: ignore[arg-type]
        context.is_counted(20)
    assert not context.cancelled.is_set()


def test_without_a_job_no_executor_is_needed(context: Context) -> None:
    """As while the driver fits a classifier, and dynamic allocation has let all executors go."""
    context.jobs = []
    with end_without_executors(context, 0.02):  # type: ignore[arg-type]
        context.is_counted(20)
    assert not context.cancelled.is_set()


def test_other_errors_of_the_run_are_not_replaced(context: Context) -> None:
    with pytest.raises(ZeroDivisionError), end_without_executors(context, 1800):  # type: ignore[arg-type]
        raise ZeroDivisionError


def test_a_run_that_ends_well_in_spite_of_it_has_not_failed(context: Context) -> None:
    """As where it is published already, and takes the cancelled job for a warning."""
    with end_without_executors(context, 0.02):  # type: ignore[arg-type]
        assert context.cancelled.wait(30)


@pytest.mark.parametrize(("master", "timeout_s"), [("local[2]", 0.02), ("k8s://https://kubernetes.default.svc", 0.0)])
def test_one_machine_and_a_timeout_of_zero_are_not_watched(
    context: Context, master: str, timeout_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor_timeout, "_ExecutorWatch", pytest.fail)
    context.master = master
    with end_without_executors(context, timeout_s):  # type: ignore[arg-type]
        pass


def test_the_time_counts_from_the_last_executor_and_from_the_need() -> None:
    absence = Absence()
    assert absence.seconds(0, 0, False) == 0
    assert absence.seconds(100, 0, True) == 0
    assert absence.seconds(130, 0, True) == 30
    assert not absence.seen
    assert absence.seconds(140, 1, True) == 0
    assert absence.seconds(150, 0, True) == 0
    assert absence.seconds(160, 0, True) == 10
    assert absence.seconds(170, 0, False) == 0
    assert absence.seconds(180, 0, True) == 0
    assert absence.seen
