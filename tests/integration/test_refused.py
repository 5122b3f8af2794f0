"""Runs with too many rejected photographs: how they are refused once more, and what lets them pass."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.integration.runs import config, finished, photograph, photographs, run, verger
from verger import pipeline
from verger.errors import TooManyRejectedError
from verger.photographs import inventory
from verger.progress import Progress
from verger.storage.stores import Stores

KNOWN, NEW, BAD = 100, 40, 10

# Tells as the process ends what it has loaded and started.
REPORT_IMPORTS = """
import atexit, json, sys
def confess():
    pyspark = sys.modules.get("pyspark")
    jvm = pyspark is not None and pyspark.SparkContext._gateway is not None
    print(json.dumps({"event": "loaded", "tensorflow": "tensorflow" in sys.modules, "jvm": jvm}), file=sys.stderr)
atexit.register(confess)
"""


def bad_photographs(folder: Path, count: int = BAD) -> list[Path]:
    """As many files, of which none is an image."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"bad {number}.jpg" for number in range(count)]
    for path in paths:
        path.write_bytes(b"no image")
    return paths


def refused(spark: Any, place: Path, **settings: Any) -> tuple[str, bool]:
    """A run that ends in exit code 6: what it says, and whether it read photographs."""
    with open(os.devnull, "w") as quiet, Progress(quiet) as progress:
        with pytest.raises(TooManyRejectedError) as error:
            pipeline.run(config(place, **settings), spark, progress)
        return error.value.line, "features" in progress.timings


def refusals(place: Path) -> list[Path]:
    return list((place / "out" / "refused").glob("*/*.parquet"))


@pytest.fixture
def place(spark, tmp_path: Path) -> Path:
    """Of a hundred photographs that are known and forty that are new ten are bad, and a run was refused."""
    photographs(tmp_path / "in", KNOWN)
    run(spark, tmp_path)
    photographs(tmp_path / "in" / "more", NEW - BAD, start=KNOWN)
    bad_photographs(tmp_path / "in" / "more")
    line, read = refused(spark, tmp_path)
    assert "10 of 40 new photographs" in line
    assert read
    return tmp_path


def test_a_run_started_again_is_refused_before_spark(place: Path) -> None:
    latest = (place / "out" / "latest.json").read_bytes()
    for _ in range(2):
        before = set((place / "out" / "runs").iterdir())
        arguments = ["--input", str(place / "in"), "--output", str(place / "out")]
        process = verger(
            "run", *arguments, "--backbone", "pixels", "--input-size", "8", inject=REPORT_IMPORTS, cwd=place
        )
        code, stderr, lines = finished(process)
        assert code == 6
        assert "verger: 10 of 40 new photographs were rejected" in stderr
        assert {line["stage"] for line in lines if line["event"] == "stage"} == {"list", "compare"}
        assert lines[-1] == {"event": "loaded", "tensorflow": False, "jvm": False}
        (folder,) = set((place / "out" / "runs").iterdir()) - before
        assert pq.read_table(folder / "rejected").num_rows == BAD
        failure = json.loads((folder / "failure.json").read_text())
        assert failure["exit_code"] == 6
        assert failure["photographs"] == {
            "listed": 140, "ignored": {}, "known": 130, "computed": 0, "rejected": BAD, "gone": 0
        }  # fmt: skip
        assert failure["rejected_by_reason"] == {"not_an_image": BAD}
    assert len(refusals(place)) == 1
    assert (place / "out" / "latest.json").read_bytes() == latest


def test_rejections_of_an_accepted_run_are_accepted_again(spark, place: Path) -> None:
    assert run(spark, place, max_rejected_ratio=0.5)["photographs"]["rejected"] == BAD
    assert not refusals(place)
    assert run(spark, place)["photographs"]["rejected"] == BAD


def test_a_ratio_that_is_not_raised_enough_changes_nothing(spark, place: Path) -> None:
    assert not refused(spark, place, max_rejected_ratio=0.2)[1]


@pytest.mark.parametrize("mend", [Path.unlink, lambda path: photograph(path, seed=BAD)], ids=["removed", "mended"])
def test_photographs_that_were_removed_or_mended_count_no_more(
    spark, place: Path, mend: Callable[[Path], object]
) -> None:
    bad = sorted((place / "in" / "more").glob("bad*"))
    for path in bad[:4]:
        mend(path)
    line, read = refused(spark, place)
    assert f"6 of {NEW if bad[0].exists() else NEW - 4} new photographs" in line
    assert not read  # the mended may be good: six are still too many
    for path in bad[4:8]:
        mend(path)
    assert run(spark, place)["photographs"]["rejected"] == 2
    assert not refusals(place)


def test_temporary_rejections_are_tried_again(spark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photographs(tmp_path / "in", KNOWN)
    run(spark, tmp_path)
    photographs(tmp_path / "in", NEW, start=KNOWN)
    elsewhere, take = tmp_path / "elsewhere", inventory.take
    paths = [path for number in range(KNOWN, KNOWN + BAD) for path in (tmp_path / "in").glob(f"*/{number:04d}.png")]

    def vanishing(source: str, stores: Stores, exclude: tuple[str, ...], **more: Any) -> inventory.Inventory:
        found = take(source, stores, exclude, **more)
        elsewhere.mkdir()
        for path in paths:
            path.rename(elsewhere / path.name)
        return found

    for _ in range(2):  # ten alone are a handful, but not what is left of a batch that was refused
        with monkeypatch.context() as patch:
            patch.setattr(inventory, "take", vanishing)
            line, read = refused(spark, tmp_path)
        assert "10 of 40 new photographs" in line
        assert read
        for path in paths:
            (elsewhere / path.name).rename(path)
        elsewhere.rmdir()
    assert run(spark, tmp_path)["photographs"]["computed"] == BAD
    assert not refusals(tmp_path)


def test_too_many_of_all_photographs_are_refused_again_at_once(spark, tmp_path: Path) -> None:
    photographs(tmp_path / "in", 10)
    bad = bad_photographs(tmp_path / "in" / "more", 5)
    assert refused(spark, tmp_path)[1]
    photographs(tmp_path / "in", 10, start=10)  # not enough, were they all good
    line, read = refused(spark, tmp_path)
    assert "5 of 25 photographs" in line
    assert not read
    for path in bad[1:]:
        path.unlink()
    assert run(spark, tmp_path)["photographs"]["computed"] == 10


def test_a_refusal_holds_under_every_name_until_one_run_has_all_its_photographs(spark, place: Path) -> None:
    assert not refused(spark, place, name="another")[1]
    (place / "other" / "in").mkdir(parents=True)
    photographs(place / "other" / "in", 8)
    run(spark, place, input=str(place / "other" / "in"))  # of other photographs
    run(spark, place, label=("label*",))  # of some
    assert not refused(spark, place)[1]
    run(spark, place, name="another", max_rejected_ratio=1)
    assert run(spark, place)["photographs"]["rejected"] == BAD


def test_as_many_other_rejected_photographs_are_a_change(spark: Any, tmp_path: Path) -> None:
    """Nothing is computed and no count differs, yet the quarantine of the last run names another photograph."""
    photographs(tmp_path / "in", 30)
    one, other = bad_photographs(tmp_path / "in", 2)
    run(spark, tmp_path)
    other.unlink()
    before = run(spark, tmp_path)
    one.unlink()
    other.write_bytes(b"no image")
    os.utime(other, ns=(1, 1))
    run(spark, tmp_path)  # of another version: it is read
    one.write_bytes(b"no image")
    os.utime(one, ns=(1, 1))
    run(spark, tmp_path)
    one.unlink()
    last = run(spark, tmp_path)
    other.unlink()
    one.write_bytes(b"no image")
    os.utime(one, ns=(1, 1))
    swapped = run(spark, tmp_path)
    for name in ("listed", "known", "computed", "rejected"):
        assert last["photographs"][name] == swapped["photographs"][name] == before["photographs"][name]
    assert "same_as" not in swapped
    (quarantine,) = (tmp_path / "out" / "runs" / swapped["run_id"] / "rejected").glob("*")
    assert pq.read_table(quarantine)["path"].to_pylist() == [str(one)]
    assert run(spark, tmp_path)["same_as"] == swapped["run_id"]
