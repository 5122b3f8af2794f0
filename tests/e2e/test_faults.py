"""Faults that a run cannot outlive, and two that it does not notice: all at once, as each needs little room."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.conftest import INPUT
from tests.e2e.faults import SMALL, Scheduled, Watched, install, run_all, run_of, values
from tests.e2e.observer import wait_for
from tests.e2e.outcomes import OUTCOMES
from tests.e2e.tables import assert_same_table
from verger.storage.stores import Stores
from verger.tables.runs import latest

pytestmark = pytest.mark.required_in_ci

PIXELS = {"backbone": "pixels"}
FEW = {**PIXELS, "max_photographs": 96}
EVERY_MINUTE = {"schedule": {"cron": "* * * * *", "successfulRunHistoryLimit": 4}}
BAD, OUTPUTS = "s3://photos/e2e-bad", "s3://lake/e2e-faults"
DENIED = "e2e-denied"


@dataclass(frozen=True)
class Fault:
    """What is wrong with a release, and how each of its attempts ends.

    Attributes
    ----------
    done : str
        What is wrong, for people.
    values : dict
        Of the chart, over those that all have.
    run : dict
        Its settings, in the same way.
    code : int
        With which the driver ends.
    words : str
        What its line has.
    attempts : int
        How often it is tried before it has failed.
    executors : bool
        Whether it asks for executors at all.
    within : float, optional
        Seconds in which each attempt's container has ended: those that are promised, and room for a slow machine.
    """

    done: str
    values: dict[str, Any]
    run: dict[str, Any]
    code: int
    words: str
    attempts: int = 2
    executors: bool = False
    within: float | None = None

    @property
    def promised(self) -> str:
        attempts = f"in each of {self.attempts} attempts" if self.attempts > 1 else "in one attempt"
        return f"{self.code}, {attempts}" + (f" within {self.within:g} s" if self.within else "")


FAULTS = {
    # Too little for batches of 512, to which these three are padded. They are tried down to each alone, so this comes
    # first. Each retry does the same again, in two minutes: the bucket that is missing shows that attempts are counted.
    "out-of-memory": Fault(
        "executors have too little memory",
        {"executor": {"instances": 1, **SMALL, "memory": "512m", "memoryOverhead": "400m"}, "retries": 0},
        {"batch_size": 512, "max_photographs": 3},
        8,
        "killed",
        attempts=1,
        executors=True,
    ),
    "key-denied": Fault(
        "the secret key is wrong", {"credentials": {"existingSecret": DENIED}}, PIXELS, 4, "secret key", within=60
    ),
    "quarantine": Fault(
        "all photographs are rejected",
        {"retries": 0},
        {**PIXELS, "input": BAD},
        6,
        "max-rejected-ratio",
        attempts=1,
        executors=True,
    ),
    "fits-nowhere": Fault(
        "executors fit on no node, executors_timeout is 20",
        {"executor": {"instances": 1, "coreRequest": "64"}, "retries": 0},
        {**FEW, "executors_timeout": 20},
        8,
        "Insufficient cpu",
        attempts=1,
        executors=True,
        within=20 + 120,
    ),
}


@dataclass
class Batch:
    """Releases that ran at the same time."""

    faults: dict[str, Watched]
    both: list[Watched]
    nowhere: Watched
    scheduled: Scheduled


@pytest.fixture(scope="module")
def batch(
    cluster: Cluster, photographs: Path, store: Any, release: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Batch]:
    for number in range(12):
        store.Bucket("photos").put_object(Key=f"e2e-bad/{number}.jpg", Body=b"no photograph" * 100)
    wrong = {"AWS_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"], "AWS_SECRET_ACCESS_KEY": "another" * 6}
    metadata = {"name": DENIED, "namespace": cluster.namespace}
    cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": wrong})
    folder = tmp_path_factory.mktemp("faults")

    def given(name: str, more: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
        settings = {"input": INPUT} | run
        return values(f"{OUTPUTS}/{name}", settings.pop("input"), **settings) | more

    faults = {name: Watched(release(f"e2e-{name}")) for name in FAULTS}
    both = [Watched(release(f"e2e-both-{letter}")) for letter in "ab"]
    scheduled = Scheduled(release("e2e-schedule"))
    starts = [partial(install, folder, faults[name], given(name, one.values, one.run)) for name, one in FAULTS.items()]
    starts[1:1] = [
        *(partial(install, folder, one, given("both", {}, FEW | {"wave_size": 24})) for one in both),
        partial(install, folder, scheduled, given("schedule", EVERY_MINUTE, FEW)),
    ]
    image = {"image": {"repository": cluster.image.rpartition(":")[0], "tag": "nowhere"}}
    nowhere = install(folder, Watched(release("e2e-no-image")), given("no-image", image, PIXELS))
    wait_for(120, lambda: _image_missing(nowhere))
    nowhere.release.stop()
    try:
        run_all(starts)
        nowhere.see()
        yield Batch(faults, both, nowhere, scheduled)
    finally:
        cluster.kubectl("delete", "secret", DENIED)


def _image_missing(seen: Watched) -> bool:
    """Whether Kubernetes says that there is no image for its driver."""
    states = [
        container["state"].get("waiting", {}).get("reason")
        for pod in seen.release.pods("driver")
        for container in pod["status"].get("containerStatuses", [])
    ]
    return bool(states) and set(states) <= {"ErrImagePull", "ImagePullBackOff"}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_each_attempt_with_its_line_and_code_and_the_last_one_the_run(batch: Batch, name: str) -> None:
    fault, seen = FAULTS[name], batch.faults[name]
    with OUTCOMES.promise(fault.done, fault.promised) as outcome:
        seen.tell(outcome)
        outcome.saw(longest_attempt=max((one.seconds for one in seen.attempts.values()), default=0))
        assert seen.release.state == "FAILED"
        assert seen.release.status["executionAttempts"] == fault.attempts
        assert f"ExitCode: {fault.code}" in seen.release.message
        assert seen.attempts, "no attempt was seen"
        for attempt in seen.attempts.values():
            assert attempt.code == fault.code, attempt.message
            assert fault.words in attempt.message
            if fault.within is not None:
                assert attempt.seconds <= fault.within
        last = seen.release.events()[-1]
        assert (last["event"], last["exit_code"]) == ("failed", fault.code)
        assert fault.words in last["message"]
        assert bool(seen.executors) == fault.executors


@pytest.mark.parametrize("name", FAULTS)
def test_a_run_that_failed_is_not_the_latest_and_holds_no_executors(batch: Batch, name: str) -> None:
    seen, output = batch.faults[name], f"{OUTPUTS}/{name}"
    assert latest(Stores().of(output), output, seen.release.name) is None
    wait_for(90, lambda: not seen.release.pods("executor"))


def test_a_run_that_got_no_executor_has_written_no_features(batch: Batch, store: Any) -> None:
    stored = store.Bucket("lake").objects.filter(Prefix="e2e-faults/fits-nowhere/features/")
    assert not [found.key for found in stored if found.key.endswith(".parquet")]


def test_rejected_photographs_are_in_the_quarantine(batch: Batch, store: Any) -> None:
    stored = [found.key for found in store.Bucket("lake").objects.filter(Prefix="e2e-faults/quarantine/runs/")]
    assert [key for key in stored if "/rejected/" in key and key.endswith(".parquet")]


def test_an_image_that_does_not_exist_is_named_by_kubernetes_and_no_executor_starts(batch: Batch) -> None:
    one = batch.nowhere.release
    with OUTCOMES.promise("the image does not exist", "it waits, and Kubernetes names the image") as outcome:
        outcome.saw(one.state, until_Kubernetes_says_so=one.seconds)
        assert _image_missing(batch.nowhere)
        assert ":nowhere" in one.described()
        assert one.state not in ("RUNNING", "COMPLETED")
        assert not batch.nowhere.executors
        outcome.saw("the image is named")


def test_two_releases_on_one_output_both_end_well(batch: Batch) -> None:
    """They may compute a photograph twice; each has its own table, and both tables are the same."""
    tables = []
    with OUTCOMES.promise("two releases write to one output", "0 for both; both tables are the same") as outcome:
        for seen in batch.both:
            seen.tell(outcome)
            assert seen.release.state == "COMPLETED", seen.release.message
            assert seen.release.status["executionAttempts"] == 1
            run, document = run_of(seen.release, f"{OUTPUTS}/both")
            counts = document["photographs"]
            assert counts["known"] + counts["computed"] == counts["projected"] == 96
            tables.append(run)
        assert tables[0].run_id != tables[1].run_id
        assert_same_table(tables[0], tables[1], f"{INPUT}/Test")
        outcome.saw("the same table")


def test_a_schedule_starts_one_run_after_the_other(batch: Batch) -> None:
    """The second finds nothing new: it asks for no executor, and the first one's table stands."""
    first, second = batch.scheduled.ended[:2]
    promised = "0 for each, one after the other; the second without an executor"
    with OUTCOMES.promise("a schedule comes round each minute", promised) as outcome:
        outcome.saw("two COMPLETED", to_the_end_of_the_second=batch.scheduled.release.seconds)
        assert second["metadata"]["creationTimestamp"] >= first["status"]["terminationTime"]
        assert first["status"]["executorState"]
        assert not second["status"].get("executorState")
        outcome.saw("the second had no executor")
        _, document = run_of(batch.scheduled.release, f"{OUTPUTS}/schedule")
        assert document["photographs"]["computed"] == 0
        assert document["same_as"]
        outcome.saw("it names the first one's table")
