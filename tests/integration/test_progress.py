"""What a run shows while it works: photographs of running tasks, and JSON lines."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from tests.integration.runs import config, photographs
from verger import pipeline
from verger.progress import Progress
from verger.spark.live_rows import LiveRows

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def rows_until(go_on: str) -> Any:
    """A function of mapInArrow: three batches of a thousand rows, then nothing more until a file is there."""

    def compute(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            for _ in range(3):
                yield pa.record_batch({"value": pa.array(range(1000), pa.int64())})
            while not Path(go_on).exists():
                time.sleep(0.05)

    return compute


def test_rows_of_a_task_are_counted_while_it_runs(spark: SparkSession, tmp_path: Path) -> None:
    go_on = tmp_path / "go on"
    result: list[int] = []

    def job() -> None:
        spark.sparkContext.setJobDescription("features, wave of this test")
        one = spark.createDataFrame(pa.table({"id": [1]}))
        result.append(one.mapInArrow(rows_until(str(go_on)), "value long").count())

    running, live, counts = threading.Thread(target=job), LiveRows(spark), {}
    running.start()
    try:
        deadline = time.monotonic() + 60
        while not counts.get("features, wave of this test") and time.monotonic() < deadline:
            counts = live.by_description()
            time.sleep(0.1)
    finally:
        go_on.touch()
        running.join()
    # Arrow's batches are in Python's buffer and Java's; the task has not ended.
    assert 1000 <= counts["features, wave of this test"] <= 3000
    assert result == [3000]
    assert "features, wave of this test" not in live.by_description()


def test_without_a_jvm_nothing_is_counted() -> None:
    assert LiveRows(object()).by_description() == {}  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def lines(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The JSON lines of a run of 300 photographs, one of which is none."""
    folder, stream = tmp_path_factory.mktemp("progress"), io.StringIO()
    photographs(folder / "in", 300)
    (folder / "in" / "label 0" / "none.jpg").write_bytes(b"no photograph")
    settings = config(folder, batch_size=8, components=2, max_rejected_ratio=0.5)
    with Progress(stream, interval=0.1, log_format="json") as progress:
        pipeline.run(settings, spark, progress)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_line_has_the_documented_fields(lines: list[dict[str, Any]]) -> None:
    always = {"ts", "level", "logger", "event"}
    fields = {
        "stage": {"stage", "elapsed_s"},
        "waiting": {"waiting_for", "ready", "total", "message", "elapsed_s"},
        "progress": {"stage", "done", "total", "photographs_per_s", "eta_s", "rejected", "elapsed_s"},
    }
    for line in lines:
        if line["event"] in fields:
            assert line.keys() == always | fields[line["event"]]
    assert fields.keys() <= {line["event"] for line in lines}


def test_the_first_lines_come_before_the_first_photograph(lines: list[dict[str, Any]]) -> None:
    events = [line for line in lines if line["event"] in ("waiting", "progress")]
    assert (events[0]["event"], events[0]["done"], events[0]["eta_s"]) == ("progress", 0, None)
    assert events[1].items() >= {"event": "waiting", "waiting_for": "network", "ready": 0, "total": 2}.items()
    assert events[1]["message"] == "network loaded on 0 of 2 workers"
    first = next(number for number, line in enumerate(events) if line.get("done"))
    assert all(line["event"] == "progress" for line in events[first:])


def test_the_count_only_grows_and_ends_with_all(lines: list[dict[str, Any]]) -> None:
    progress = [line for line in lines if line["event"] == "progress"]
    done = [line["done"] for line in progress]
    assert done == sorted(done)
    assert progress[-1].items() >= {"done": 301, "total": 301, "rejected": 1, "eta_s": 0}.items()
    assert [line["elapsed_s"] for line in progress] == sorted(line["elapsed_s"] for line in progress)
