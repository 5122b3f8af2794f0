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
                yield pa.record_batch({"value": ["x" * 200] * 1000})  # more than Python's buffer takes
            while not Path(go_on).exists():
                time.sleep(0.05)

    return compute


def test_rows_of_a_task_are_counted_while_it_runs(spark: SparkSession, tmp_path: Path) -> None:
    go_on, wave = tmp_path / "go on", "features, wave of this test"

    def job() -> None:
        spark.sparkContext.setJobDescription(wave)
        rows = spark.createDataFrame(pa.table({"id": [1]})).mapInArrow(rows_until(str(go_on)), "value string")
        rows.write.format("noop").mode("overwrite").save()

    def seen(is_running: bool) -> int:
        deadline = time.monotonic() + 60
        while bool(rows := live.by_description().get(wave, 0)) != is_running and time.monotonic() < deadline:
            time.sleep(0.1)
        return rows

    running, live = threading.Thread(target=job), LiveRows(spark)
    running.start()
    try:
        rows = seen(is_running=True)
    finally:
        go_on.touch()
        running.join()
    assert 1000 <= rows <= 3000  # some batches may be in buffers
    assert seen(is_running=False) == 0


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
    waiting = next(number for number, line in enumerate(events) if line["event"] == "waiting")
    assert events[waiting].items() >= {"waiting_for": "network", "ready": 0, "total": 2}.items()
    assert events[waiting]["message"] == "network loaded on 0 of 2 workers"
    first = next(number for number, line in enumerate(events) if line.get("done"))
    assert waiting < first
    assert all(line["event"] == "progress" for line in events[first:])


def test_the_count_only_grows_and_ends_with_all(lines: list[dict[str, Any]]) -> None:
    progress = [line for line in lines if line["event"] == "progress"]
    done = [line["done"] for line in progress]
    assert done == sorted(done)
    assert progress[-1].items() >= {"done": 301, "total": 301, "rejected": 1, "eta_s": 0}.items()
    assert [line["elapsed_s"] for line in progress] == sorted(line["elapsed_s"] for line in progress)
