"""Runs on a bucket that die with all their processes: the next one ends with the tables of an undisturbed one."""

from __future__ import annotations

import json
import signal
import time

import pytest

import verger
from tests.integration.runs import finished
from tests.integration.s3_runs import COUNT, KILL_ALL, SLOW_PROJECTION, Place, Tables, kill_all
from tests.integration.test_kills import SLOW_DECODER
from verger.errors import NothingToReadError

pytestmark = [pytest.mark.required_in_ci, pytest.mark.slow]

# Dies as the named function is called (or has returned), once: a file tells that it did.
KILL = (
    KILL_ALL
    + """
import verger.{module} as module
owner = {owner}
def dies(*arguments, original=owner.{function}, **named):
    result = original(*arguments, **named) if {after} else None
    if not os.path.exists("hit"):
        open("hit", "w").close()
        kill_all()
    return result if {after} else original(*arguments, **named)
owner.{function} = dies
"""
)


def resumed(place: Place, expected: Tables) -> None:
    """The next run computes what no one can see yet, and nothing else."""
    assert place.keys("out/latest.json") == []
    seen = place.stored()
    assert len(seen) == len(set(seen))
    code, stderr, lines = finished(place.start())
    assert code == 0, stderr
    assert (lines[-1]["known"], lines[-1]["computed"]) == (len(seen), COUNT - len(seen))
    assert sorted(place.stored()) == sorted(f"s3://{place.bucket}/{key}" for key in place.keys("in/"))
    place.assert_whole(expected)


def test_killed_in_a_wave_it_loses_its_unfinished_tasks_alone(place: Place, expected: Tables) -> None:
    process = place.start(inject=SLOW_DECODER)
    assert process.stderr is not None
    for line in process.stderr:
        progress = json.loads(line)
        if progress["event"] == "progress" and 20 < progress["done"] < COUNT:
            break
    kill_all(process)
    assert process.wait() == -signal.SIGKILL
    assert 0 < len(place.stored()) < COUNT
    resumed(place, expected)


@pytest.mark.parametrize(
    ("module", "owner", "function", "after", "stored", "manifests"),
    [
        ("network.extraction", "module.Extraction", "_commit", False, {20, 30, 40}, 0),
        ("tables.manifest", "module", "publish", False, {COUNT}, 0),
        ("tables.manifest", "module", "publish", True, {COUNT}, 1),
    ],
    ids=["wave-written", "before-manifest", "before-latest"],
)
def test_killed_at_a_named_point_the_next_run_is_whole(
    place: Place,
    expected: Tables,
    module: str,
    owner: str,
    function: str,
    after: bool,
    stored: set[int],
    manifests: int,
) -> None:
    inject = KILL.format(module=module, owner=owner, function=function, after=after)
    code, stderr, _ = finished(place.start(inject=inject))
    assert code == -signal.SIGKILL, stderr
    assert (place.folder / "hit").exists()
    assert len(place.stored()) in stored
    assert len(list(place.documents("manifest.json"))) == manifests
    resumed(place, expected)


def test_killed_with_half_of_the_projection_the_run_has_no_manifest(place: Place, expected: Tables) -> None:
    """The one partition's file is written, the other is not yet computed: readers trust only a run with a manifest."""
    process = place.start(inject=SLOW_PROJECTION.format(seconds=60))
    while not (written := place.keys("out/runs/", ".parquet")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    kill_all(process)
    assert process.wait() == -signal.SIGKILL
    assert [key.rpartition("/")[2] for key in written] == ["part-00000.zstd.parquet"]
    assert list(place.documents("manifest.json")) == []
    with pytest.raises(NothingToReadError):
        verger.load(place.output)
    resumed(place, expected)
    assert place.uploads() == []
