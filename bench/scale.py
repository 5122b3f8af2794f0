"""What a run costs where little has changed, and what the driver's memory follows.

    python bench/scale.py [--rows 200000] [--new 2000] [--keys 1000000 10000000] [--repeat 3] [--json FILE]

Processes of their own, measured in turns and told as medians:

- **session**: a SparkSession that is started and stopped;
- **unchanged**: `verger run` over ``--rows`` photographs in a folder, of which the store has all;
- **alone**: `verger run` over ``--new`` drawn photographs into an empty output;
- **new**: `verger run --pca auto` over the rows and these photographs, and the stored files that it opened;
- **full**: the first run over the rows, with an empty base: the store is read, and all rows are fitted and projected.

Then for each number of ``--keys``: listing so many keys, comparing them with a snapshot of as many, and the peak
memory of the process that does it. Classifier, audit and report are left out. Stored features of the rows are drawn.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "job"))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from passes import photographs as drawn_features
from processes import MAIN, timed

from verger.config import RunConfig
from verger.network.backbones import resolve
from verger.photographs import synthetic
from verger.photographs.inventory import SCHEMA
from verger.spool import spool
from verger.storage.stores import Stores

FILE_ROWS = 40_000
PLAIN = ["--no-classifier", "--no-audit", "--no-report"]

# Writes down the files that pyarrow opens, in driver and workers.
LOG_OPENED = """
import os, pyarrow.fs as pafs
class Logged(pafs.LocalFileSystem):
    def open_input_file(self, path):
        with open(os.environ["OPENED"], "a") as log:
            log.write(path + chr(10))
        return super().open_input_file(path)
pafs.LocalFileSystem = Logged
"""


def make_photographs(folder: Path, count: int) -> list[Path]:
    """Files that are listed and never read: their features are stored already."""
    paths = [folder / f"label {number % 131:03d}" / f"{number:08d}.jpg" for number in range(count)]
    for label in sorted({path.parent for path in paths}):
        label.mkdir(parents=True)
    for path in paths:
        path.touch()
        os.utime(path, ns=(10**18, 10**18))
    return paths


def make_store(output: Path, paths: list[Path], dimension: int, fingerprint: str) -> None:
    """The features of these photographs, as compaction leaves them."""
    random = np.random.default_rng(0)
    directions = random.normal(size=(64, dimension)).astype(np.float32)
    folder = output / "features" / fingerprint / "wave=compacted-20260101T000000Z-000000"
    folder.mkdir(parents=True)
    for start in range(0, len(paths), FILE_ROWS):
        some = paths[start : start + FILE_ROWS]
        rows = drawn_features(start, start + len(some), directions, random)
        named = {"path": pa.array(map(str, some)), "version": pa.array([f"{10**18}-0"] * len(some))}
        for name, column in named.items():
            rows = rows.set_column(rows.schema.get_field_index(name), name, column)
        pq.write_table(
            rows,
            folder / f"part-{start:08d}.zstd.parquet",
            row_group_size=(64 << 20) // (4 * dimension),
            column_encoding={"features.list.element": "BYTE_STREAM_SPLIT"},
            compression="zstd",
            use_dictionary=False,
            write_page_checksum=True,
        )


def run(source: Path, output: Path, *options: str, opened: Path | None = None) -> dict[str, Any]:
    """`verger run` as a process; with a file for their names, stored files of features that it opened are counted."""
    command = [sys.executable, str(MAIN), "run", "--input", str(source), "--output", str(output), *PLAIN, *options]
    if opened is None:
        return timed(command)
    injected = opened.with_suffix("")
    injected.mkdir(exist_ok=True)
    (injected / "sitecustomize.py").write_text(LOG_OPENED)
    opened.unlink(missing_ok=True)
    done = timed(command, PYTHONPATH=f"{injected}{os.pathsep}{MAIN.parent}", OPENED=str(opened))
    files = set(opened.read_text().splitlines()) if opened.exists() else set()
    stored = {file for file in files if "/features/" in file}
    known = {file for file in stored if "wave=compacted-20260101T000000Z" in file}
    return done | {"opened": {"known": len(known), "new": len(stored - known)}}


def session() -> dict[str, Any]:
    """A SparkSession with our settings, started and stopped."""
    code = (
        "from verger.config import RunConfig; from verger.spark.session import session;"
        "from verger.storage.stores import Stores\n"
        "with session(RunConfig(input='/in', output='/out'), Stores(), None): pass"
    )
    return timed([sys.executable, "-c", code], PYTHONPATH=str(MAIN.parent))


def changed_runs(place: Path, rows: int, new: int, repeat: int) -> dict[str, Any]:
    """The runs over a folder."""
    config = RunConfig(input=str(place / "in"), output=str(place / "out"))
    network = resolve(config, Stores(), config.seed)
    paths = make_photographs(place / "in", rows)
    make_store(place / "out", paths, network.dimension, network.fingerprint)
    synthetic.draw(str(place / "new"), new, seed=1)
    found: dict[str, list[dict[str, Any]]] = {"full": [run(place / "in", place / "out")]}
    shutil.copytree(place / "out", place / "kept", copy_function=os.link)
    for turn in range(repeat):
        found.setdefault("session", []).append(session())
        found.setdefault("unchanged", []).append(run(place / "in", place / "out"))
        found.setdefault("alone", []).append(run(place / "new", place / f"alone-{turn}"))
        shutil.copytree(place / "new", place / "in" / "new")
        found.setdefault("new", []).append(
            run(place / "in", place / "out", "--pca", "auto", opened=place / "opened.log")
        )
        shutil.rmtree(place / "in" / "new")
        shutil.rmtree(place / "out")
        shutil.copytree(place / "kept", place / "out", copy_function=os.link)
    return {
        kind: {
            "seconds": round(statistics.median(each["seconds"] for each in turns), 2),
            "memory_mb": {name: round(size / 1e6) for name, size in turns[-1]["memory"].items()},
            **({"opened": turns[-1]["opened"]} if "opened" in turns[-1] else {}),
        }
        for kind, turns in found.items()
    }


def keys_of(count: int) -> Iterator[pa.Table]:
    """Photographs by the hundred thousand, in order."""
    step = 1 << 16
    for start in range(0, count, step):
        numbers = range(start, min(count, start + step))
        labels = [f"label {number * 1000 // count:03d}" for number in numbers]
        names = zip(labels, numbers, strict=True)
        yield pa.table(
            {
                "path": [f"s3://orchard/photographs/{label}/{number:09d}.jpg" for label, number in names],
                "label": labels,
                "split": pa.nulls(len(numbers), pa.string()),
                "version": [f"{number:032x}-5000" for number in numbers],
                "size": pa.array([5000] * len(numbers), pa.int64()),
            },
            schema=SCHEMA,
        )


def compare_keys(place: str, count: int) -> None:
    """In a process of its own: a listing of so many keys against a snapshot of as many; prints what it took."""
    from datetime import UTC, datetime

    from verger.tables import changes, snapshot
    from verger.tables.runs import new_run
    from verger.tables.snapshot import Snapshot, StoredFile
    from verger.tables.store import FeatureStore

    stores = Stores()
    storage = stores.of(place)
    store, base = FeatureStore(storage, place, "bench"), new_run(storage, place, "verger", datetime.now(UTC))
    stored = Path(store.folder) / "wave=bench" / "part-0.zstd.parquet"
    stored.parent.mkdir(parents=True)
    stored.touch()
    entry = next(iter(storage.list(store.folder)))
    name = "wave=bench/part-0.zstd.parquet"

    def located() -> Iterator[pa.Table]:
        number = 0
        for rows in keys_of(count):
            at = pa.array(np.arange(number, number + len(rows), dtype=np.int32))
            number += len(rows)
            yield rows.append_column("file", pa.array([name] * len(rows))).append_column("row", at)

    snapshot.write(base, located(), [], {name: StoredFile(entry.version, count, 0)})
    listed = spool(SCHEMA, keys_of(count))
    began = time.process_time()
    opened = changes.Base(base, None, Snapshot.open(base))  # type: ignore[arg-type]
    found = changes.find_changes(store, changes.Input("s3://orchard/photographs", listed, listed), opened)
    assert (found.pending.num_rows, found.removed.num_rows, found.gone) == (0, 0, 0)
    status = Path("/proc/self/status").read_text()
    peak = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
    print(json.dumps({"keys": count, "cpu_s": round(time.process_time() - began, 1), "peak_mb": round(peak / 1024)}))


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--new", type=int, default=2_000)
    parser.add_argument("--keys", type=int, nargs="*", default=[1_000_000, 10_000_000])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json")
    parser.add_argument("--compare", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.compare:
        compare_keys(options.compare[0], int(options.compare[1]))
        return
    figures: dict[str, Any] = {"cores": os.cpu_count(), "rows": options.rows, "new": options.new}
    with tempfile.TemporaryDirectory() as folder:
        if options.rows:
            figures["runs"] = changed_runs(Path(folder), options.rows, options.new, options.repeat)
    figures["keys"] = []
    for count in options.keys:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--compare", folder, str(count)]
            figures["keys"].append(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))
    text = json.dumps(figures, indent=2)
    print(text)
    if options.json:
        Path(options.json).write_text(text + "\n")


if __name__ == "__main__":
    main()
