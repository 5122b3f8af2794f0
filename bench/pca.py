"""A fit of the PCA by Verger, MLlib and scikit-learn, each in a process of its own: seconds, peak memory, agreement.

    python bench/pca.py [--shapes 2000x1280 20000x1280 5000x25088] [--repeat 3] [--limit 600] [--quick] [--json FILE]

All read the same Parquet files (made up, like a network's features), and find 50 components. Each has fitted a table
of 200 x 64 before the clock starts. So sessions, workers and modules are there, as they are after a job's feature
pass. Reading counts. Verger has its own session, with 780 MB for the heap of the driver, as the target is 2 GiB with
Python. MLlib has Spark's settings and 2 GB, as in `notebook.py`: Verger's JVM has the first compiler only, with which
MLlib takes twice as long. scikit-learn's solver is its fastest exact one: ``covariance_eigh`` up to 4,096 features,
``arpack`` beyond. A fit that takes longer than ``--limit`` seconds is ended. What fails or is ended, or takes more
than a minute, has one turn.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import plain_session
import pyarrow.parquet as pq
from inputs import CORES, largest, median, parse, parser, tell
from passes import FINGERPRINT, write_store
from processes import told

from verger.config import RunConfig
from verger.storage.stores import Stores

COMPONENTS = 50
DRIVER_MEMORY = {"verger": "780m", "mllib": plain_session.DRIVER_MEMORY}
FIRST = (200, 64)  # photographs x features of the table that is fitted before the clock starts
KINDS = ("verger", "mllib", "scikit-learn")
LONG_S = 60.0
Result = dict[str, Any]


@contextmanager
def spark_session(kind: str, place: str) -> Iterator[Any]:
    """Verger's session, or for MLlib the notebook's; None for scikit-learn."""
    if kind == "scikit-learn":
        yield None
    elif kind == "mllib":
        spark = plain_session.start_session()
        try:
            yield spark
        finally:
            spark.stop()
    else:
        from verger.spark.session import session

        memory = DRIVER_MEMORY[kind]
        config = RunConfig(input=f"{place}/in", output=f"{place}/out", cores=CORES, driver_memory=memory)
        with session(config, Stores(), config.output) as spark:
            yield spark


def verger_fit(spark: Any, place: str, dimension: int) -> Any:
    """The shares of the variance that Verger's fit finds, and the solver."""
    from verger.components.pca import fit
    from verger.storage.local import LocalStorage
    from verger.tables.feature_rows import FeatureRows
    from verger.tables.locations import locate
    from verger.tables.selection import select_rows
    from verger.tables.store import FeatureStore

    store = FeatureStore(LocalStorage(), f"{place}/out", FINGERPRINT)
    located, _ = locate(store, {})
    rows_of, sizes = ({name: getattr(file, what) for name, file in located.files.items()} for what in ("rows", "size"))
    selection = select_rows(located.rows.batches(), rows_of, sizes, f"{store.folder}/")
    pca = fit(
        FeatureRows(spark, selection, ()),
        dimension=dimension,
        variance=None,
        components=COMPONENTS,
        standardize=False,
        solver="auto",
        seed=0,
        memory=RunConfig(input="/in", output="/out", driver_memory=DRIVER_MEMORY["verger"]).driver_bytes,
    ).pca
    return pca.explained_variance_ratio, pca.solver


def mllib_fit(spark: Any, place: str, dimension: int) -> Any:
    """The same of MLlib's."""
    from pyspark.ml.feature import PCA
    from pyspark.ml.functions import array_to_vector
    from pyspark.sql.functions import col

    frame = spark.read.option("recursiveFileLookup", "true").parquet(f"{place}/out/features/{FINGERPRINT}")
    vectors = frame.select(array_to_vector(col("features")).alias("vector"))
    model = PCA(k=COMPONENTS, inputCol="vector", outputCol="components").fit(vectors)
    return model.explainedVariance.toArray(), "full SVD of the covariance"


def sklearn_fit(_: Any, place: str, dimension: int) -> Any:
    """The same of scikit-learn's."""
    from sklearn.decomposition import PCA

    table = pq.read_table(f"{place}/out/features/{FINGERPRINT}", columns=["features"])["features"].combine_chunks()
    rows = table.flatten().to_numpy().reshape(len(table), dimension)
    solver = "covariance_eigh" if dimension <= 4096 else "arpack"
    exact = rows.astype(np.float64) if dimension <= 4096 else rows
    return PCA(n_components=COMPONENTS, svd_solver=solver).fit(exact).explained_variance_ratio_, solver


FITS: dict[str, Callable[[Any, str, int], Any]] = {
    "verger": verger_fit,
    "mllib": mllib_fit,
    "scikit-learn": sklearn_fit,
}


def fit_here(kind: str, place: str, dimension: int) -> None:
    """In a process of its own: fit the small table, then the one that is measured; print what that took and found."""
    with spark_session(kind, place) as spark:
        FITS[kind](spark, f"{place}/first", FIRST[1])
        began = time.perf_counter()
        ratios, solver = FITS[kind](spark, place, dimension)
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "solver": solver, "ratios": list(map(float, ratios))}), flush=True)


def turn(kind: str, place: str, dimension: int, limit: float) -> Result:
    """One fit in a new process; ``failed`` says why there is none."""
    command = [sys.executable, __file__, "--fit", kind, place, str(dimension)]
    done = told(command, limit_s=limit, must_succeed=False)
    said = [json.loads(text) for _, text in done["lines"] if text.startswith('{"seconds"')]
    found: Result = {"memory": done["memory"], "process_s": done["seconds"]}
    if said:
        return {**found, **said[0]}
    if done["timed_out"]:
        return found | {"failed": f"ended after {limit:.0f} s"}
    return {**found, "failed": reason([text for _, text in done["lines"]])}


def reason(lines: list[str]) -> str:
    """Why a fit failed, from what its process said."""
    for pattern in (r"java\.lang\.OutOfMemoryError(: [\w ]+)?", r"\S+Exception: .{1,200}", r"\S*Error: .{1,200}"):
        found = [match[0] for match in map(re.compile(pattern).search, lines) if match]
        if found:
            return found[-1]
    return "ended without a word"


def measure(place: str, dimension: int, options: argparse.Namespace) -> dict[str, list[Result]]:
    """All kinds in turns over one store."""
    found: dict[str, list[Result]] = {kind: [] for kind in KINDS}
    for number in range(options.repeat):
        for kind, turns in found.items():
            if turns and ("failed" in turns[0] or turns[0]["seconds"] > LONG_S):
                continue
            print(f"bench: {kind}, {dimension} features, turn {number + 1}", file=sys.stderr, flush=True)
            turns.append(turn(kind, place, dimension, options.limit))
            said = {name: turns[-1].get(name) for name in ("seconds", "failed", "memory")}
            print(f"bench: {said}", file=sys.stderr, flush=True)
    return found


def summary(turns: list[Result], exact: list[float] | None) -> Result:
    """Medians of one kind; how far its shares of the variance are from scikit-learn's."""
    told_of = {"memory_mb": largest([each["memory"] for each in turns]), "turns": len(turns)}
    for each in turns:
        if "failed" in each:
            return told_of | {"failed": each["failed"], "process_s": round(each["process_s"], 1)}
    took = [each["seconds"] for each in turns]
    found = told_of | {
        "seconds": median(took),
        "turns_s": [round(one, 2) for one in took],
        "solver": turns[0]["solver"],
    }
    if exact is not None:
        found["difference"] = float(f"{np.abs(np.subtract(turns[0]['ratios'], exact)).max():.1e}")
    return found


def main() -> None:
    """Measure all shapes."""
    made = parser(__doc__)
    made.add_argument("--shapes", nargs="+", default=["2000x1280", "20000x1280", "5000x25088"])
    made.add_argument("--limit", type=float, default=600.0, help="seconds after which a fit is ended")
    made.add_argument("--fit", nargs=3, help=argparse.SUPPRESS)
    options = parse(made)
    if options.fit:
        fit_here(options.fit[0], options.fit[1], int(options.fit[2]))
        return
    if options.quick:
        options.shapes, options.limit = ["300x1280", "200x25088"], 60.0
    figures: dict[str, Any] = {"components": COMPONENTS, "limit_s": options.limit, "driver_memory": DRIVER_MEMORY}
    figures["shapes"] = []
    for shape in options.shapes:
        rows, dimension = map(int, shape.split("x"))
        with tempfile.TemporaryDirectory() as place:
            write_store(Path(place) / "out", rows, dimension)
            write_store(Path(place) / "first" / "out", *FIRST)
            found = measure(place, dimension, options)
        exact = found["scikit-learn"][0].get("ratios")
        fits = {kind: summary(turns, exact) for kind, turns in found.items()}
        figures["shapes"].append({"rows": rows, "dimension": dimension, "fits": fits})
    tell(figures, options.json)


if __name__ == "__main__":
    main()
