"""Which ended containers of drivers are attempts of a run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.cluster import Cluster, Release
from tests.e2e.faults import Attempt, Watched


class OfPods(Release):
    """A release whose driver's pod is as a test says."""

    def __init__(self, pod: dict[str, Any]) -> None:
        super().__init__(Cluster(), "run")
        self.pod = pod

    def pods(self, component: str) -> list[dict[str, Any]]:
        return [self.pod] if component == "driver" else []

    @property
    def state(self) -> str:
        return "RUNNING"


def pod(code: int, *, deleted: bool) -> dict[str, Any]:
    times = {"startedAt": "2026-11-30T16:20:52Z", "finishedAt": "2026-11-30T16:20:53Z"}
    ended = {"exitCode": code, "message": "its line"} | times
    when = {"deletionTimestamp": "2026-11-30T16:21:23Z"} if deleted else {}
    return {"metadata": {"uid": "7"} | when, "status": {"containerStatuses": [{"state": {"terminated": ended}}]}}


@pytest.mark.parametrize(("code", "deleted"), [(4, False), (4, True), (143, False)])
def test_a_driver_that_ended_is_an_attempt(code: int, deleted: bool) -> None:
    seen = Watched(OfPods(pod(code, deleted=deleted)))
    seen.see()
    assert seen.attempts == {"7": Attempt(code, "its line", 1.0)}


def test_a_driver_that_was_stopped_as_its_pod_was_deleted_is_none() -> None:
    seen = Watched(OfPods(pod(143, deleted=True)))
    seen.see()
    assert seen.attempts == {}
