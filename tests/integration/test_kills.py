"""Runs that are killed, interrupted, or not alone: the next one ends with the table of an undisturbed one."""

from __future__ import annotations

import importlib
import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import verger
from tests.integration.runs import finished, photographs, run, signalled
from tests.integration.runs import verger as start

SLOW_DECODER = """
import time
import verger.photographs.images as images
decode = images.decode
def slowly(*arguments, **named):
    time.sleep(0.3)
    return decode(*arguments, **named)
images.decode = slowly
"""

SLOW_STAGE = """
import time
import verger.components.{module} as module
quickly = module.{function}
def slowly(*arguments):
    time.sleep(60)
    return quickly(*arguments)
module.{function} = slowly
"""

# Dies by SIGKILL as the manifest is about to be written; a file tells that it did.
KILL = """
import os, signal
from verger.tables import manifest
def dies(*arguments, **named):
    open("hit", "w").close()
    os.kill(os.getpid(), signal.SIGKILL)
manifest.publish = dies
"""

# A decoder that aborts its process, as a C library with a bug does.
ABORTING_DECODER = """
import os
import verger.photographs.images as images
decode = images.decode
def aborts(data, *arguments, **named):
    if data.startswith(b"ABORT"):
        os.abort()
    return decode(data, *arguments, **named)
images.decode = aborts
"""


# Where a run that dies leaves something for the next one to find: module, owner, function, and whether it has returned.
POINTS = {
    "described": ("tables.description", "", "describe", True),
    "wave-written": ("network.extraction", "Extraction", "_commit", False),
    "projection-begun": ("components.pca", "Pca", "save", True),
    "projection-written": ("tables.reader", "", "verify", False),
    "before-manifest": ("tables.manifest", "", "publish", False),
    "before-latest": ("tables.manifest", "", "publish", True),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    photographs(tmp_path / "in", 60)
    return tmp_path


@pytest.fixture(scope="module")
def stopped(spark, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the output as it was at each of POINTS, by its name: what a SIGKILL at that moment leaves."""
    folder = tmp_path_factory.mktemp("stopped")
    photographs(folder / "in", 60)
    (folder / "in" / "empty.jpg").write_bytes(b"")

    def keep(point: str) -> None:
        if not (folder / point).exists():
            shutil.copytree(folder / "out", folder / point)

    def watched(point: str, original, after: bool):
        def function(*arguments, **named):
            if not after:
                keep(point)
            result = original(*arguments, **named)
            if after:
                keep(point)
            return result

        return function

    with pytest.MonkeyPatch.context() as patch:
        for point, (module, owner, name, after) in POINTS.items():
            found = importlib.import_module(f"verger.{module}")
            target = getattr(found, owner) if owner else found
            patch.setattr(target, name, watched(point, getattr(target, name), after))
        run(spark, folder)
    shutil.move(folder / "out", folder / "undisturbed")
    return folder


def arguments(place: Path, *more: str) -> list[str]:
    settings = ["--backbone", "pixels", "--input-size", "8", "--cores", "2", "--progress-interval", "0.2"]
    return ["run", "--input", str(place / "in"), "--output", str(place / "out"), *settings, *more]


def undisturbed(spark, place: Path) -> None:
    """The output has the very table that a run of its own would have, and nothing unfinished is read."""
    run(spark, place, output=str(place / "undisturbed"))
    assert_same(place / "out", place / "undisturbed")


def assert_same(output: Path, other: Path) -> None:
    """Two outputs have the same table."""
    expected, got = verger.load(str(other)), verger.load(str(output))
    assert got.drop_columns("pca_features").equals(expected.drop_columns("pca_features"))
    expected, got = (np.stack(table["pca_features"].to_pylist()) for table in (expected, got))
    np.testing.assert_allclose(got, expected, atol=1e-7 * np.ptp(expected), rtol=0)


@pytest.mark.parametrize("committed", [pytest.param(False, marks=pytest.mark.slow), True])
def test_killed_in_extraction_it_resumes_from_the_store(spark, place: Path, committed: bool) -> None:
    slow = arguments(place, "--wave-size", "10", "--partitions", "2")
    process = start(*slow, inject=SLOW_DECODER, cwd=place)
    signalled(process, wave_committed if committed else nth_progress_line(2), signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (place / "out" / "latest.json").exists()
    resumed(spark, place, least=10 if committed else 0)
    undisturbed(spark, place)


@pytest.mark.slow
def test_killed_in_a_wave_it_is_not_refused_for_what_that_wave_rejected(spark, place: Path) -> None:
    """Rejections are kept with the features of their task: else the next run would find few new photographs but bad."""
    for number in range(5):
        (place / "in" / f"bad-{number}.jpg").write_bytes(b"no photograph")
    process = start(*arguments(place, "--partitions", "6"), inject=SLOW_DECODER, cwd=place)
    signalled(process, lambda line: line["event"] == "progress" and line["done"] >= 44, signal.SIGKILL)
    process.communicate()
    remembered = [pq.read_metadata(file).num_rows for file in (place / "out" / "rejects").glob("*/wave=*/*.parquet")]
    files = (place / "out" / "features").glob("*/wave=*/[!.]*.parquet")
    stored = sum(pq.read_metadata(file).num_rows for file in files)
    assert 0 < len(remembered) <= 5
    counts = run(spark, place)["photographs"]
    assert counts["known"] == stored
    assert counts["rejected"] == 5
    assert counts["known"] + counts["computed"] == 60


def resumed(spark, place: Path, least: int = 0) -> None:
    """Run to the end, with no photograph computed again that a task had finished with others."""
    files = [pq.ParquetFile(file) for file in (place / "out" / "features").glob("*/wave=*/[!.]*.parquet")]
    stored = sum(file.metadata.num_rows for file in files)
    assert stored >= least
    counts = run(spark, place)["photographs"]
    assert counts["known"] == stored
    assert counts["known"] + counts["computed"] == 60


def wave_committed(line: dict) -> bool:
    """True at a progress line that counts more photographs than two waves of ten in flight have."""
    return line["event"] == "progress" and line["done"] > 20


def nth_progress_line(number: int):
    """True at the n-th progress line after photographs have been dealt with."""
    seen: list[int] = []

    def now(line: dict) -> bool:
        if line["event"] == "progress" and (line["done"] or seen):
            seen.append(line["done"])
        return len(seen) == number

    return now


@pytest.mark.parametrize("point", POINTS)
def test_stopped_at_a_named_point_the_next_run_is_whole(spark, stopped: Path, point: str) -> None:
    shutil.copytree(stopped / point, stopped / "out")
    try:
        assert not (stopped / "out" / "latest.json").exists()
        done = run(spark, stopped)
        assert done["photographs"]["computed"] == (60 if point == "described" else 0)
        assert_same(stopped / "out", stopped / "undisturbed")
    finally:
        shutil.rmtree(stopped / "out")


@pytest.mark.slow
def test_killed_before_its_manifest_the_next_run_is_whole(spark, place: Path) -> None:
    """By SIGKILL, at the point at which most is there to be taken for a run."""
    (place / "in" / "empty.jpg").write_bytes(b"")
    code, stderr, _ = finished(start(*arguments(place), inject=KILL, cwd=place))
    assert code == -signal.SIGKILL, stderr
    assert (place / "hit").exists()
    assert not (place / "out" / "latest.json").exists()
    assert run(spark, place)["photographs"]["computed"] == 0
    undisturbed(spark, place)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGTERM, 143, id="SIGTERM"),
        pytest.param(signal.SIGINT, 130, id="SIGINT", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run_leaves_nothing_unfinished_and_says_how_to_resume(
    spark, place: Path, number: int, code: int
) -> None:
    slow = arguments(place, "--wave-size", "10", "--partitions", "2")
    process = start(*slow, inject=SLOW_DECODER, cwd=place)
    signalled(process, nth_progress_line(3), number)
    _, rest = process.communicate(timeout=30)
    assert process.returncode == code, rest
    assert "Traceback" not in rest
    assert "Run the same command again" in rest
    assert not list((place / "out").rglob("_temporary"))
    failure = json.loads(next((place / "out" / "runs").glob("*/failure.json")).read_text())
    assert failure["exit_code"] == code
    name = place / "out" / "names" / "verger.json"
    assert json.loads(name.read_text())["failed"]["exit_code"] == code
    resumed(spark, place)
    assert "failed" not in json.loads(name.read_text())
    undisturbed(spark, place)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "module", "function", "number", "code"),
    [
        ("components", "rows", "matrix", signal.SIGTERM, 143),
        ("projection", "projection", "_transformed", signal.SIGINT, 130),
    ],
    ids=["components", "projection"],
)
def test_interrupted_while_spark_computes_it_does_not_wait_for_it(
    spark, place: Path, stage, module, function, number, code
) -> None:
    inject = SLOW_STAGE.format(module=module, function=function)
    process = start(*arguments(place), inject=inject, cwd=place)
    signalled(process, lambda line: line.get("stage") == stage, number, after=2)
    _, rest = process.communicate(timeout=30)  # the computation itself takes a minute
    assert process.returncode == code, rest
    assert rest.count("\n") == 2  # the line for people, and the one for scripts
    resumed(spark, place)
    undisturbed(spark, place)


@pytest.mark.slow
def test_a_photograph_that_kills_its_decoder_is_quarantined(spark, place: Path) -> None:
    for photograph in list((place / "in").glob("label [123]/*")):
        photograph.unlink()
    for name in ("a", "z"):
        (place / "in" / f"{name}.jpg").write_bytes(b"ABORT")
    code, stderr, _ = finished(
        start(*arguments(place, "--max-rejected-ratio", "0.2"), inject=ABORTING_DECODER, cwd=place), timeout=240
    )
    assert code == 0, stderr
    document = json.loads(next((place / "out" / "runs").glob("*/manifest.json")).read_text())
    assert document["rejected_by_reason"] == {"unreadable": 2}
    assert document["photographs"]["computed"] == 15
    for name in ("a", "z"):
        (place / "in" / f"{name}.jpg").unlink()
    undisturbed(spark, place)


@pytest.mark.slow
def test_where_no_photograph_can_be_computed_it_is_not_tried_with_each(place: Path) -> None:
    """As where memory is too short for a single batch."""
    killed = ABORTING_DECODER.replace("os.abort()", "os.kill(os.getpid(), 9)")
    assert killed != ABORTING_DECODER
    for photograph in (place / "in").glob("*/*"):
        photograph.write_bytes(b"ABORT")
    code, stderr, _ = finished(
        start(*arguments(place, "--max-rejected-ratio", "1"), inject=killed, cwd=place), timeout=240
    )
    assert code == 8, stderr
    assert "Python workers died on 3 photographs" in stderr
    assert "they were killed, as the kernel does where memory is short" in stderr


@pytest.mark.slow
def test_two_runs_at_once_on_one_output_both_end_well(spark, place: Path) -> None:
    both = [start(*arguments(place, "--wave-size", "20"), inject=SLOW_DECODER, cwd=place) for _ in range(2)]
    for process in both:
        code, stderr, _ = finished(process)
        assert code == 0, stderr
    manifests = [json.loads(path.read_text()) for path in (place / "out" / "runs").glob("*/manifest.json")]
    assert [document["photographs"]["projected"] for document in manifests] == [60, 60]
    assert (
        max(document["started_at"] for document in manifests)
        == (json.loads((place / "out" / "latest.json").read_text())["started_at"])
    )
    undisturbed(spark, place)


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (["--input", "nowhere"], 3, "nowhere does not exist"),
        (["--components", "0"], 2, "components"),
        (["--weights", "nowhere.h5", "--backbone", "mobilenet_v2"], 7, "nowhere.h5"),
        (["--output", "/proc/verger"], 4, "/proc"),
    ],
    ids=["input", "usage", "weights", "output"],
)
def test_what_a_user_gets_wrong_ends_in_one_line_and_its_code(place: Path, more, code, says) -> None:
    got, stderr, _ = finished(start(*arguments(place, *more), cwd=place))
    assert got == code, stderr
    lines = [line for line in stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1
    assert says in lines[0]
    assert "Traceback" not in stderr
