"""A release that waits: `helm test` looks whether the run could be made, then it is let go."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.conftest import INPUT, OUTPUT
from tests.e2e.observer import wait_for
from verger.storage.stores import Stores
from verger.tables import manifest, runs

pytestmark = pytest.mark.required_in_ci


def test_a_suspended_release_is_tested_by_helm_and_resumed(
    cluster: Cluster, photographs: Path, release: Any, tmp_path: Path
) -> None:
    one = release("e2e-preflight")
    settings = {"input": INPUT, "output": OUTPUT, "max_photographs": 24, "backbone": "pixels"}
    one.install(tmp_path, {"run": settings, "suspend": True})
    wait_for(30, lambda: one.state == "SUSPENDED")
    examined = cluster.helm("test", one.name, "--logs", "--timeout", "4m")
    assert examined.returncode == 0, examined.stdout + examined.stderr
    assert "Weights" in examined.stdout
    assert one.state == "SUSPENDED"
    assert not one.pods("driver")
    (let_go,) = [line.partition("kubectl ")[2] for line in one.notes.splitlines() if "patch sparkapplication" in line]
    cluster.kubectl(*shlex.split(let_go))
    assert one.ended() == "COMPLETED"
    assert manifest.read(runs.latest(Stores().of(OUTPUT), OUTPUT, one.name)).photographs.projected == 24


def test_helm_test_says_what_is_wrong(cluster: Cluster, photographs: Path, release: Any, tmp_path: Path) -> None:
    one = release("e2e-preflight-wrong")
    one.install(tmp_path, {"run": {"input": "s3://no-such-bucket/fruit", "output": OUTPUT}, "suspend": True})
    examined = cluster.helm("test", one.name, "--logs", "--timeout", "4m")
    assert examined.returncode != 0
    assert "no-such-bucket" in examined.stdout


def test_a_release_is_not_upgraded(cluster: Cluster, release: Any, tmp_path: Path) -> None:
    one = release("e2e-upgraded")
    one.install(tmp_path, {"run": {"input": INPUT, "output": OUTPUT}, "suspend": True})
    again = cluster.helm("upgrade", one.name, "charts/verger", "--reuse-values")
    assert again.returncode != 0
    assert "one release is one run" in again.stderr
    made = {thing for thing in cluster.things() if one.name in thing}
    assert made
    one.uninstall()
    assert not made & cluster.things()
