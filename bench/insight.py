"""How long a run looks at its photographs: sample, classifier, audit and report, each in processes of their own.

    python bench/insight.py [--photographs 2000 100000] [--labels 60] [--components 60] [--repeat 3]

A run's table, its features (1,280 numbers a photograph, in series around the middle of a label, as a network gives them
of fruit on a turntable) and its PCA are made up and written as a run writes them. There are no photographs behind them,
so that the page has no thumbnails. What is measured begins where the table is written, imports included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1] / "job"))

from verger.components.pca import Pca
from verger.config import RunConfig
from verger.insight.analysis import Analysis, Findings
from verger.progress import Progress
from verger.residency.guard import Residency
from verger.storage.local import LocalStorage
from verger.storage.stores import Stores
from verger.tables.manifest import Manifest, RecordHeader, environment
from verger.tables.runs import Run
from verger.tables.schemas import FEATURES, PROJECTION
from verger.tables.store import FeatureStore

D, FRAMES, WAVE = 1280, 8, 10_000
RUN = "20260101T000000Z-bench-000000"
GROUPS = r"^.*_"


def features(start: int, stop: int, labels: int, directions: np.ndarray) -> np.ndarray:
    """Photographs ``start`` to ``stop``: frame by frame, series by series, label by label in turn."""
    rows = np.empty((stop - start, directions.shape[0]))
    for at, number in enumerate(range(start, stop)):
        series = number // FRAMES
        place = np.random.default_rng([1, series % labels]).normal(size=directions.shape[0])
        place += np.random.default_rng([2, series]).normal(size=directions.shape[0])
        rows[at] = place + 0.4 * np.random.default_rng([3, number]).normal(size=directions.shape[0])
    # What comes out of a rectifier: a third of the numbers is nothing.
    return np.maximum(rows @ directions + 0.4, 0).astype(np.float32)


def make(output: str, photographs: int, labels: int, k: int) -> None:
    """Write an output as runs leave them, but for the manifest."""
    run, store = Run(output, RUN, LocalStorage()), FeatureStore(LocalStorage(), output, "bench")
    strength = np.arange(1, 201) ** -0.6
    directions = np.random.default_rng(0).normal(size=(200, D)) * strength[:, None] / np.sqrt((strength**2).sum())
    waves = [(start, min(start + WAVE, photographs)) for start in range(0, photographs, WAVE)]
    first = features(*waves[0], labels, directions)
    mean, (values, vectors) = first.mean(axis=0), np.linalg.eigh(np.cov(first.T))
    spectrum, components = values[::-1], vectors[:, ::-1].T[:k]
    shares = spectrum[:k] / spectrum.sum()
    Pca(
        components,
        mean,
        None,
        spectrum[:k],
        shares,
        spectrum,
        spectrum.sum(),
        photographs,
        {"components": k},
        D,
        "gram",
    ).save(run.path("pca"), run.storage)
    Path(run.path("projection")).mkdir(parents=True)
    for number, (start, stop) in enumerate(waves):
        rows = features(start, stop, labels, directions) if number else first
        at = range(start, stop)
        name = [f"label {n // FRAMES % labels:03d}" for n in at]
        columns = {
            "path": [f"/in/{label}/{n // FRAMES:06d}_{n % FRAMES:03d}.jpg" for n, label in zip(at, name, strict=True)],
            "label": name,
            "split": [None] * len(at),
            "version": ["1-1"] * len(at),
            "sha256": [f"{n:064x}" for n in at],
            "size": [1] * len(at),
            "width": [100] * len(at),
            "height": [100] * len(at),
            "features": lists(rows),
            "extracted_at": [datetime.now(UTC)] * len(at),
            "pca_features": lists(((rows - mean) @ components.T).astype(np.float32)),
        }
        folder = Path(store.folder) / f"{RUN}-{number:04d}"
        folder.mkdir(parents=True)
        for schema, file in ((FEATURES, folder / "part-0.parquet"),
                             (PROJECTION, Path(run.path("projection")) / f"part-{number}.parquet")):  # fmt: skip
            pq.write_table(pa.table([columns[n] for n in schema.names], schema=schema), file, compression="zstd")


def lists(rows: np.ndarray) -> pa.Array:
    """A list a row."""
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.ravel(), pa.float32()))


def document(output: str, photographs: int, labels: int, pca: dict[str, Any], findings: Findings) -> Manifest:
    """A manifest as the page reads it."""
    config = RunConfig(input="/in", output=output)
    now = datetime.now(UTC)
    counts = {"listed": photographs, "known": 0, "computed": photographs, "rejected": 0, "gone": 0}
    residency = Residency([], {}, [])
    bench = {"fingerprint": "bench", "backbone": "bench", "weights_sha256": None, "dimension": D, "path": "f"}
    found = {"audit": findings.audit, "classifier": findings.classifier}
    return Manifest(
        **dict(RecordHeader.of(Run(output, RUN, LocalStorage()), config, residency, now, now)),
        photographs={**counts, "ignored": {}, "projected": photographs},
        labels={f"label {n:03d}": photographs // labels for n in range(labels)},
        rejected_by_reason={},
        features=bench,
        pca={**pca, "fitted_by": RUN, "path": "p"},
        projection={"path": "p", "rows": photographs, "columns": pca["n_components"]},
        **{name: part for name, part in found.items() if part is not None},
        timings_s={"features": 1.0},
        throughput={"photographs_per_s": 1.0, "photographs_per_s_per_core": 1.0},
        cost={"eur": None, "eur_per_1000": None, "assumptions": []},
        residency=residency.as_dict(),
        environment=environment(),
        warnings=[],
    )


def look(output: str, photographs: int, labels: int) -> None:
    """What a run does once its table is written; prints each stage's seconds, and the memory at most, as JSON."""
    config = RunConfig(input="/in", output=output, group_regex=GROUPS)
    run = Run(output, RUN, LocalStorage())
    shutil.rmtree(run.path("audit"), ignore_errors=True)  # of the round before
    pca = Pca.load(run.path("pca"), run.storage).summary()
    with open(os.devnull, "w") as quiet, Progress(quiet) as progress:
        analysis = Analysis(run, config, Stores(), progress, lambda **_: None)
        findings = analysis.analyse(FeatureStore(run.storage, output, "bench"))
        analysis.draw(document(output, photographs, labels, pca, findings))
        if progress.warnings:
            sys.exit(f"bench: {progress.warnings}")
        seconds = {name: progress.timings[name] for name in ("sample", "classifier", "audit", "report")}
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps(seconds | {"all": sum(seconds.values()), "GB": gigabytes}))


def main() -> None:
    """Make the outputs, and look at each in new processes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photographs", type=int, nargs="+", default=[2_000, 100_000])
    parser.add_argument("--labels", type=int, default=60)
    parser.add_argument("--components", type=int, default=60)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--look", metavar="OUTPUT", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.look:
        look(asked.look, asked.photographs[0], asked.labels)
        return
    for photographs in asked.photographs:
        with tempfile.TemporaryDirectory() as output:
            make(output, photographs, asked.labels, asked.components)
            again = [sys.executable, __file__, "--look", output, "--photographs", str(photographs)]
            again += ["--labels", str(asked.labels)]
            rounds = [json.loads(subprocess.check_output(again)) for _ in range(asked.repeat)]
        medians = {name: statistics.median(found[name] for found in rounds) for name in rounds[0]}
        said = "  ".join(f"{name} {value:.2f}" for name, value in medians.items())
        print(f"{photographs:>9,} photographs, median of {asked.repeat}: {said}", flush=True)


if __name__ == "__main__":
    main()
