"""What a run loses in the middle of its work and outlives: its table is that of a run to which nothing was done."""

from __future__ import annotations

import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.conftest import INPUT, Finished
from tests.e2e.faults import (
    MIDDLE,
    SMALL,
    WAVE,
    Watched,
    delete_pod,
    drained,
    finished,
    frozen_store,
    install,
    relabelled,
    run_all,
    run_of,
    until_ended,
    values,
    workers,
)
from tests.e2e.observer import wait_for
from tests.e2e.outcomes import OUTCOMES, Outcome
from tests.e2e.tables import assert_same_table

pytestmark = pytest.mark.required_in_ci

OUTPUTS = "s3://lake/e2e-losses"
ROOT = f"{INPUT}/Test"

# Whose pod is deleted in the middle and how, and how often the run is tried.
DELETED: dict[str, tuple[str, tuple[str, ...], int]] = {
    "executor-gracefully": ("executor", (), 1),
    "executor-at-once": ("executor", ("--force", "--grace-period=0"), 1),
    "driver": ("driver", (), 2),
}
STORE_GONE_S = 60
"""For so long a run waits for a bucket (docs/s3.md)."""
SLOW_S = 60
"""More, on a slow machine, with the last request that had no answer."""


@pytest.fixture(scope="module")
def deleted(
    cluster: Cluster, photographs: Path, release: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Watched]:
    """One run for each of DELETED, at the same time."""
    folder = tmp_path_factory.mktemp("deleted")
    seen = {
        name: Watched(release(f"e2e-lost-{name}"), [(MIDDLE, delete_pod(component, *how))])
        for name, (component, how, _) in DELETED.items()
    }
    given = {name: values(f"{OUTPUTS}/{name}", INPUT, wave_size=WAVE) for name in seen}
    run_all([partial(install, folder, seen[name], given[name]) for name in seen])
    return seen


@pytest.mark.parametrize("name", DELETED)
def test_a_run_goes_on_without_pods_that_were_deleted(deleted: dict[str, Watched], name: str, first: Finished) -> None:
    component, how, attempts = DELETED[name]
    seen = deleted[name]
    done = f"the {component} is deleted {' '.join(how)}".strip()
    promised = (
        "0 in the same attempt, with another executor" if attempts == 1 else "0 in the second attempt, from there on"
    )
    with OUTCOMES.promise(done, f"{promised}; the same table") as outcome:
        seen.tell(outcome)
        assert not seen.strikes, "the run had ended before the pod could be deleted"
        outcome.saw(until_another_pod=seen.until_replaced(component))
        assert seen.release.state == "COMPLETED", f"{seen.release.message}\n{seen.release.log()[-3000:]}"
        assert seen.release.status["executionAttempts"] == attempts
        assert len(seen.executors) >= 2
        run, document = run_of(seen.release, f"{OUTPUTS}/{name}")
        counts = document["photographs"]
        assert counts["known"] + counts["computed"] == counts["projected"] == 672
        assert (counts["known"] >= WAVE) == (attempts == 2), "a second attempt goes on from what was committed"
        outcome.saw(f"{counts['known']} photographs known")
        assert_same_table(run, first.run, ROOT)
        outcome.saw("the same table")


def started(folder: Path, release: Any, name: str, /, executors: int = 1, **more: Any) -> Watched:
    """A run that is in the middle of its extraction."""
    given = values(f"{OUTPUTS}/{name}", INPUT, wave_size=WAVE) | {"executor": {"instances": executors, **SMALL}} | more
    seen = install(folder, Watched(release(f"e2e-lost-{name}")), given)
    wait_for(300, lambda: finished(seen.release) >= MIDDLE)
    seen.see()
    return seen


def assert_unharmed(seen: Watched, name: str, first: Finished, outcome: Outcome) -> None:
    seen.tell(outcome)
    assert seen.release.state == "COMPLETED", f"{seen.release.message}\n{seen.release.log()[-3000:]}"
    assert seen.release.status["executionAttempts"] == 1
    run, document = run_of(seen.release, f"{OUTPUTS}/{name}")
    assert document["photographs"]["projected"] == 672
    assert_same_table(run, first.run, ROOT)
    outcome.saw("the same table")


def test_a_run_goes_on_without_a_node_that_was_drained(
    photographs: Path, release: Any, first: Finished, tmp_path: Path
) -> None:
    seen = started(tmp_path, release, "node", executors=2)
    promised = "0 in the same attempt, with an executor on another node; the same table"
    with OUTCOMES.promise("a node with an executor is drained", promised) as outcome:
        with drained(seen.release) as node:
            before = set(seen.pods)
            until_ended(seen)
        assert_unharmed(seen, "node", first, outcome)
        later = [pod for uid, pod in seen.pods.items() if uid not in before and pod["spec"].get("nodeName")]
        assert later, "no executor was started anew"
        assert all(pod["spec"]["nodeName"] != node for pod in later)
        outcome.saw("an executor on another node")


def test_a_run_waits_for_a_store_that_is_gone_for_20_seconds(
    cluster: Cluster, photographs: Path, release: Any, first: Finished, tmp_path: Path
) -> None:
    seen = started(tmp_path, release, "store-20s")
    promised = "0 in the same attempt, late; the same table"
    with OUTCOMES.promise("the store answers nobody for 20 s", promised) as outcome:
        with frozen_store(cluster):
            time.sleep(20)
        until_ended(seen)
        assert_unharmed(seen, "store-20s", first, outcome)


def test_a_run_ends_where_its_store_is_gone_for_good_and_the_next_goes_on(
    cluster: Cluster, photographs: Path, release: Any, first: Finished, tmp_path: Path
) -> None:
    seen = started(tmp_path, release, "store", retries=0)
    promised = f"4, with its line after {STORE_GONE_S} s and at most {SLOW_S} more"
    with OUTCOMES.promise("the store answers nobody any more", promised) as outcome:
        with frozen_store(cluster) as since:
            until_ended(seen, 400)
        seen.tell(outcome)
        assert seen.release.state == "FAILED"
        assert "ExitCode: 4" in seen.release.message
        last = seen.release.events()[-1]
        assert (last["event"], last["exit_code"]) == ("failed", 4)
        assert f"has not answered for {STORE_GONE_S} s" in last["message"]
        seconds = (datetime.fromisoformat(last["ts"]) - since).total_seconds()  # kind's nodes have this machine's clock
        outcome.saw(from_then_to_the_line=seconds)
        assert seconds <= STORE_GONE_S + SLOW_S

    with OUTCOMES.promise("the same run again, when it does", "0, from what was stored; the same table") as outcome:
        again = install(tmp_path, Watched(release("e2e-lost-store-again")), values(f"{OUTPUTS}/store", INPUT))
        until_ended(again)
        again.tell(outcome)
        assert again.release.state == "COMPLETED", again.release.message
        run, document = run_of(again.release, f"{OUTPUTS}/store")
        outcome.saw(f"{document['photographs']['known']} photographs known")
        assert document["photographs"]["known"] >= WAVE
        assert_same_table(run, first.run, ROOT)
        outcome.saw("the same table")


def test_no_pod_starts_on_a_node_outside_the_eu_and_a_run_begins_when_there_is_another(
    cluster: Cluster, photographs: Path, release: Any, tmp_path: Path
) -> None:
    output = f"{OUTPUTS}/region"
    given = values(output, INPUT, backbone="pixels", classifier=False, max_photographs=24, verify_nodes=True)
    seen = Watched(release("e2e-lost-region"))
    promised = "it waits, and begins where there is one again: 0"
    with OUTCOMES.promise("no node is in the EU, then one is", promised) as outcome:
        with relabelled(cluster, "us-east-1") as put_back:
            install(tmp_path, seen, given)
            wait_for(60, lambda: _unscheduled(seen))
            outcome.saw(f"the driver waits: {_unscheduled(seen)[:160]}")
            assert "affinity" in _unscheduled(seen)
            (home, *_) = workers(cluster)
            put_back(home)
            until_ended(seen)
        seen.tell(outcome)
        assert seen.release.state == "COMPLETED", seen.release.message
        assert {pod["spec"].get("nodeName") for pod in seen.pods.values()} == {home}
        _, document = run_of(seen.release, output)
        assert "ran on nodes in eu-west-3" in " ".join(document["residency"]["evidence"])
        outcome.saw("on that node alone")


def _unscheduled(seen: Watched) -> str:
    """Why the driver is on no node."""
    for pod in seen.release.pods("driver"):
        for condition in pod["status"].get("conditions", []):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return str(condition["message"])
    return ""
