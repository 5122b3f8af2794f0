"""How long full passes over the feature store take, against plain numpy that reads the same files.

    python bench/passes.py [--rows 200000] [--dimension 1280] [--components 100] [--cores 2] [--repeat 3]

Measured in turns, each as many times as ``--repeat`` says, and told as medians:

- **gram**: what a fit takes from the files to the scatter matrix, through `FeatureRows`, against as many processes of
  numpy as there are cores, each of which reads its half of the files and multiplies in float64;
- **project**: what the table of all rows takes to be written, against as many processes that only read.

Processes and session have started, and have read once, before the clock starts. Files are in the page cache.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.pool import Pool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "job"))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from verger.components.pca import Pca
from verger.components.projection import write_projection
from verger.components.scatter import scatter_moments
from verger.config import RunConfig
from verger.cores import use_one_thread
from verger.spark.session import session
from verger.storage.local import LocalStorage
from verger.storage.stores import Stores
from verger.tables.feature_rows import FeatureRows
from verger.tables.locations import locate
from verger.tables.schemas import FEATURES
from verger.tables.selection import select_rows
from verger.tables.store import FeatureStore

FINGERPRINT = "bench-f32-000000000000"
FILE_ROWS = 40_000  # of 1,280 features: about 115 MB, as compaction makes files
GROUP_BYTES = 64 << 20  # in memory; on disk about half of it, as Spark makes row groups


def write_store(output: Path, rows: int, dimension: int) -> None:
    """A store of one fingerprint, as compaction leaves it: features like a network's, half of them zero."""
    random = np.random.default_rng(0)
    directions = random.normal(size=(64, dimension)).astype(np.float32)
    file_rows = max(1, FILE_ROWS * 1280 // dimension)
    folder = output / "features" / FINGERPRINT / "wave=compacted-20260101T000000Z-000000"
    folder.mkdir(parents=True)
    settings = {"compression": "zstd", "use_dictionary": False, "write_page_checksum": True}
    for number, start in enumerate(range(0, rows, file_rows)):
        table = photographs(start, min(rows, start + file_rows), directions, random)
        pq.write_table(
            table,
            folder / f"part-{number:05d}.zstd.parquet",
            row_group_size=GROUP_BYTES // (4 * dimension),
            column_encoding={"features.list.element": "BYTE_STREAM_SPLIT"},
            **settings,
        )


def photographs(start: int, stop: int, directions: np.ndarray, random: np.random.Generator) -> pa.Table:
    """Rows of the store."""
    count, dimension = stop - start, directions.shape[1]
    values = random.normal(size=(count, len(directions))).astype(np.float32) @ directions
    values += random.normal(size=values.shape).astype(np.float32)
    lists = pa.ListArray.from_arrays(
        pa.array(np.arange(count + 1, dtype=np.int32) * dimension), pa.array(np.maximum(values, 0).ravel())
    )
    columns = {
        "path": [f"/in/label {number % 131:03d}/{number:08d}.jpg" for number in range(start, stop)],
        "version": [f"{number:020d}-5000" for number in range(start, stop)],
        "features": lists,
    }
    return pa.table([columns.get(field.name, pa.nulls(count, field.type)) for field in FEATURES], schema=FEATURES)


def in_numpy(groups: list[tuple[str, int]], multiplied: bool) -> np.ndarray | None:
    """What one process of numpy does: read row groups, and add up the products of their rows."""
    use_one_thread()
    total = None
    for name, number in groups:
        file = pq.ParquetFile(name, page_checksum_verification=True)
        column = file.read_row_group(number, ["features"], use_threads=False)["features"].combine_chunks()
        rows = column.flatten().to_numpy().reshape(len(column), -1)
        if multiplied:
            exact = rows.astype(np.float64)
            total = exact.T @ exact if total is None else total + exact.T @ exact
    return total


def plain(pool: Pool, files: list[str], cores: int, multiplied: bool) -> None:
    """All row groups of all files, in as many processes as there are cores."""
    groups = [(name, number) for name in files for number in range(pq.ParquetFile(name).num_row_groups)]
    pool.starmap(in_numpy, [(groups[number::cores], multiplied) for number in range(cores)], chunksize=1)


def drawn_pca(dimension: int, components: int) -> Pca:
    """Components of no photographs in particular."""
    axes = np.linalg.qr(np.random.default_rng(1).normal(size=(dimension, components)))[0].T
    falling = 1 / np.arange(1, components + 1)
    return Pca(
        components=np.ascontiguousarray(axes), mean=np.full(dimension, 0.4), scale=np.full(dimension, 2.0),
        explained_variance=falling, explained_variance_ratio=falling / falling.sum(), spectrum=falling,
        total_variance=float(falling.sum()), n_photographs=10_000, requested={"components": components},
        rank=components, solver="gram",
    )  # fmt: skip


def measure(kinds: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """Median seconds of each kind; they take turns, after one call each that does not count."""
    for run in kinds.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(repeat):
        for name, run in kinds.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    """Write a store, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 200_000), ("dimension", 1280), ("components", 100), ("cores", 2), ("repeat", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, multiprocessing.get_context("spawn").Pool(options.cores) as pool:
        output = Path(folder) / "out"
        write_store(output, options.rows, options.dimension)
        config = RunConfig(input=f"{folder}/in", output=str(output), cores=options.cores, local_dir=f"{folder}/local")
        store = FeatureStore(LocalStorage(), str(output), FINGERPRINT)
        located, _ = locate(store, {})
        rows_of, sizes = (
            {name: getattr(file, what) for name, file in located.files.items()} for what in ("rows", "size")
        )
        selection = select_rows(located.rows.batches(), rows_of, sizes, f"{store.folder}/")
        files, pca = [file.path for file in selection.files], drawn_pca(options.dimension, options.components)
        written = (str(number) for number in range(1_000_000))
        with session(config, Stores(), config.output) as spark:
            rows = FeatureRows(spark, selection, ())
            found = measure(
                {
                    "numpy": lambda: plain(pool, files, options.cores, True),
                    "gram": lambda: scatter_moments(rows, options.dimension),
                    "reading": lambda: plain(pool, files, options.cores, False),
                    "project": lambda: write_projection(
                        rows, pca, config.input, f"{folder}/projection/{next(written)}", "part", ()
                    ),
                },
                options.repeat,
            )
    size = sum(file.size for file in selection.files) / 1e6
    print(f"{selection.num_rows:,} rows of {options.dimension:,} features, {len(files)} files of {size:,.0f} MB in all")
    for ours, theirs, limit in (("gram", "numpy", 1.5), ("project", "reading", 2.0)):
        ratio = found[ours] / found[theirs]
        print(f"{ours} {found[ours]:.2f} s, {theirs} {found[theirs]:.2f} s: {ratio:.2f} times (target {limit})")


if __name__ == "__main__":
    main()
