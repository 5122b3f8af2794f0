"""Reading results without Spark: `verger.load` and `verger.load_features`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.dataset as ds

from verger.errors import NothingToReadError, StoreError
from verger.storage.stores import Stores
from verger.storage.uri import join
from verger.tables import manifest, runs
from verger.tables.runs import Run
from verger.tables.schemas import FEATURES, PROJECTION
from verger.tables.store import FILE, KEY, FeatureStore, deduplicate, parquet_files, retry_if_vanished, semi_join

if TYPE_CHECKING:
    import pandas as pd


def projection(run: Run) -> ds.Dataset:
    """The projection of a run as a lazy dataset, its many parts as one table."""
    storage = run.storage
    files = [entry.path for entry in parquet_files(storage, run.path("projection"))]
    return ds.dataset(files, schema=PROJECTION, filesystem=storage.arrow())


def verify(run: Run, rows: int, columns: int) -> None:
    """Read a run's table back, before its manifest says that it can be trusted.

    Raises
    ------
    StoreError
        A row is missing or twice there, or has not ``columns`` numbers.
    """
    found, paths = 0, []
    for batch in projection(run).to_batches(columns=["path", "pca_features"]):
        found += batch.num_rows
        paths.append(batch["path"])
        values, widths = pc.list_flatten(batch["pca_features"]), pc.list_value_length(batch["pca_features"])
        if batch.num_rows and (pc.min_max(widths).as_py() != {"min": columns, "max": columns} or widths.null_count):
            raise _damaged(run, f"rows that have not {columns} components")
        if values.null_count or not pc.all(pc.is_finite(values), min_count=0).as_py():
            raise _damaged(run, "components that are no numbers")
    unique = pc.count_distinct(pa.chunked_array(paths, pa.string())).as_py()
    if (found, unique) != (rows, rows):
        raise _damaged(run, f"{found} rows of {unique} photographs instead of {rows}")


def _damaged(run: Run, finding: str) -> StoreError:
    return StoreError(f"the table read back from {run.path('projection')} has {finding}", "It was not published")


def write_csv(run: Run, columns: int) -> None:
    """Write a run's table as projection.csv: path, label, pca_feature_1 .. pca_feature_k; batch by batch."""
    names = [f"pca_feature_{number}" for number in range(1, columns + 1)]
    schema = pa.schema([("path", pa.string()), ("label", pa.string()), *((name, pa.float32()) for name in names)])
    path = run.path("projection.csv")
    with run.storage.stream(path) as file, pacsv.CSVWriter(file, schema) as writer:
        for batch in projection(run).to_batches(columns=["path", "label", "pca_features"]):
            values = pc.list_flatten(batch["pca_features"]).to_numpy(zero_copy_only=False).reshape(-1, columns)
            parts = [batch["path"], batch["label"], *(pa.array(column) for column in values.T)]
            writer.write(pa.record_batch(parts, schema=schema))


@overload
def load(uri: str, as_: Literal["arrow"] = "arrow") -> pa.Table: ...
@overload
def load(uri: str, as_: Literal["pandas"]) -> pd.DataFrame: ...
def load(uri: str, as_: Literal["arrow", "pandas"] = "arrow") -> Any:
    """The table of a run: one row a photograph, with its principal components.

    Parameters
    ----------
    uri : str
        A run's folder, or an output, whose latest run is meant.
    as_ : {"arrow", "pandas"}

    Returns
    -------
    pyarrow.Table or pandas.DataFrame
        ``path, label, split, pca_features, version``, sorted by path.

    Raises
    ------
    NothingToReadError
        There is no finished run.

    Examples
    --------
    >>> table = verger.load("out")                       # doctest: +SKIP
    >>> x = np.stack(verger.load("out", "pandas").pca_features)  # doctest: +SKIP
    """
    run = runs.find(uri, Stores())

    def attempt() -> pa.Table:
        manifest.read(run)  # readers trust only a run that has one
        return projection(run).to_table().sort_by("path")

    return _as(retry_if_vanished(attempt, run.folder), as_)


@overload
def load_features(uri: str, as_: Literal["arrow"] = "arrow") -> pa.Table: ...
@overload
def load_features(uri: str, as_: Literal["pandas"]) -> pd.DataFrame: ...
def load_features(uri: str, as_: Literal["arrow", "pandas"] = "arrow") -> Any:
    """The network's features of the photographs of a run, without duplicates.

    Parameters
    ----------
    uri : str
        A run's folder, or an output, whose latest run is meant.
    as_ : {"arrow", "pandas"}

    Returns
    -------
    pyarrow.Table or pandas.DataFrame
        The columns of the feature store, one row a photograph of the run, sorted by path; ``label`` and
        ``split`` are those of the run.

    Raises
    ------
    NothingToReadError
        There is no finished run, or its features are gone.
    """
    run = runs.find(uri, Stores())
    return _as(retry_if_vanished(lambda: _features(run), run.output), as_)


def _features(run: Run) -> pa.Table:
    """The stored rows of a run's photographs, with the labels and splits of its table."""
    fingerprint = manifest.read(run).features.fingerprint
    wanted = projection(run).to_table(columns=["path", "label", "split", "version"])
    store = FeatureStore(run.storage, run.output, fingerprint)
    files = sorted(pc.unique(semi_join(store.known(), wanted)["file"]).to_pylist())
    stored = ds.dataset(files, schema=FEATURES, filesystem=run.storage.arrow())
    columns = [name for name in FEATURES.names if name not in ("label", "split")]
    rows = deduplicate(semi_join(stored.to_table([*columns, FILE]), wanted), FILE).drop_columns(FILE)
    labels = wanted.sort_by([(name, "ascending") for name in KEY])
    if rows.num_rows != labels.num_rows:
        missing = labels.num_rows - rows.num_rows
        raise NothingToReadError(
            f"{missing} photographs of {run.folder} have no features in {join(run.output, 'features')} any more",
            "Run again to compute them",
        )
    # Both are sorted by the same unique key, so that they stand row against row (and no list column is joined).
    return rows.add_column(1, "label", labels["label"]).add_column(2, "split", labels["split"])


def _as(table: pa.Table, as_: str) -> Any:
    return table.to_pandas() if as_ == "pandas" else table
