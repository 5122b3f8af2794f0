"""Reading results without Spark: `verger.load`, `verger.scan` and `verger.load_features`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, overload

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from verger.batches import parquet_batches
from verger.config import StoreSettings
from verger.errors import NothingToReadError, StoreError
from verger.sorting import Sorter
from verger.storage.stores import Stores
from verger.storage.uri import join
from verger.tables import manifest, runs
from verger.tables.file_errors import retry_if_vanished
from verger.tables.rows import KEY, deduplicate, semi_join
from verger.tables.runs import Run
from verger.tables.schemas import FEATURES, PROJECTION
from verger.tables.store import FILE, FeatureStore, parquet_files

if TYPE_CHECKING:
    import pandas as pd

_BATCH_ROWS = 1 << 13


def projection(run: Run) -> ds.Dataset:
    """The projection of a run as a lazy dataset.

    Parameters
    ----------
    run : Run
        From whose folder ``projection`` the Parquet files are read.

    Returns
    -------
    pyarrow.dataset.Dataset
        With the columns of `PROJECTION`.
    """
    storage = run.storage
    files = [entry.path for entry in parquet_files(storage, run.path("projection"))]
    return ds.dataset(files, schema=PROJECTION, filesystem=storage.arrow())


def batches(run: Run, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The projection of a run as a stream, which takes as much memory for many rows as for few.

    Parameters
    ----------
    run : Run
        From whose folder ``projection`` the Parquet files are read.
    columns : list of str, optional
        Those of `PROJECTION` that are read; default: all.

    Yields
    ------
    pyarrow.RecordBatch
        Some thousands of rows, with these columns in this order. The checksums of pages are verified.
    """
    schema = PROJECTION if columns is None else pa.schema([PROJECTION.field(name) for name in columns])
    for entry in parquet_files(run.storage, run.path("projection")):
        with (
            run.storage.arrow().open_input_file(entry.path) as opened,
            pq.ParquetFile(opened, page_checksum_verification=True) as file,
        ):
            for batch in parquet_batches(file, _BATCH_ROWS, columns):
                yield batch.select(schema.names).cast(schema)


def verify(run: Run, rows: int, columns: int, scratch: str | None = None) -> None:
    """Read a run's table back and check it, before the manifest is written.

    Parameters
    ----------
    run : Run
        Whose table is written, its manifest not yet.
    rows : int
        Photographs that the table should have.
    columns : int
        Components that each row should have.
    scratch : str, optional
        Folder for temporary files, in which paths are sorted.

    Raises
    ------
    StoreError
        A row is missing, is there twice, or has not ``columns`` finite numbers.
    """
    found, paths = 0, Sorter(pa.schema([PROJECTION.field("path")]), ["path"], scratch)
    for batch in batches(run, ["path", "pca_features"]):
        found += batch.num_rows
        paths.write(batch.select(["path"]))
        values, widths = pc.list_flatten(batch["pca_features"]), pc.list_value_length(batch["pca_features"])
        if batch.num_rows and (pc.min_max(widths).as_py() != {"min": columns, "max": columns} or widths.null_count):
            raise _wrong_table(run, f"rows without exactly {columns} components")
        if values.null_count or not pc.all(pc.is_finite(values), min_count=0).as_py():
            raise _wrong_table(run, "components that are not finite numbers")
    unique = paths.finish(unique=["path"]).num_rows
    if (found, unique) != (rows, rows):
        raise _wrong_table(run, f"{found} rows of {unique} photographs instead of {rows}")


def _wrong_table(run: Run, finding: str) -> StoreError:
    return StoreError(f"the table read back from {run.path('projection')} has {finding}", "It was not published")


def write_csv(run: Run, columns: int) -> None:
    """Write a run's table as projection.csv: path, label, pca_feature_1 ... pca_feature_k. It is copied batch by batch.

    Parameters
    ----------
    run : Run
        Whose table is copied, into the run's own folder.
    columns : int
        Components of a row, k.
    """
    names = [f"pca_feature_{number}" for number in range(1, columns + 1)]
    schema = pa.schema([("path", pa.string()), ("label", pa.string()), *((name, pa.float32()) for name in names)])
    path = run.path("projection.csv")
    with run.storage.stream(path) as file, pacsv.CSVWriter(file, schema) as writer:
        for batch in batches(run, ["path", "label", "pca_features"]):
            values = pc.list_flatten(batch["pca_features"]).to_numpy(zero_copy_only=False).reshape(-1, columns)
            parts = [batch["path"], batch["label"], *(pa.array(column) for column in values.T)]
            writer.write(pa.record_batch(parts, schema=schema))


@overload
def load(uri: str, as_: Literal["arrow"] = "arrow", settings: StoreSettings | None = None) -> pa.Table: ...
@overload
def load(uri: str, as_: Literal["pandas"], settings: StoreSettings | None = None) -> pd.DataFrame: ...
def load(uri: str, as_: Literal["arrow", "pandas"] = "arrow", settings: StoreSettings | None = None) -> Any:
    """Read the table of a run: one row a photograph, with its principal components.

    Parameters
    ----------
    uri : str
        Local path or URI of a run's folder, or of an output: then its latest run is read.
    as_ : {"arrow", "pandas"}
        Type of the result.
    settings : StoreSettings, optional
        How a bucket is reached, such as the `RunConfig` of the run; default: as AWS's own variables and files say.

    Returns
    -------
    pyarrow.Table or pandas.DataFrame
        ``path, label, split, pca_features, version``, sorted by path. ``pca_features`` has the components, float32.

    Raises
    ------
    NothingToReadError
        There is no finished run.
    StoreError
        The store refuses, or a file is damaged.

    Examples
    --------
    The latest run of an output, as an Arrow table:

    >>> import verger
    >>> table = verger.load("out")
    >>> table.column_names
    ['path', 'label', 'split', 'pca_features', 'version']

    The components as an array, one row a photograph:

    >>> import numpy as np
    >>> frame = verger.load("out", "pandas")
    >>> np.stack(frame["pca_features"])
    array([[ 0. ,  0. ],
           [ 0.5, -1. ],
           [ 1. , -2. ]], dtype=float32)
    """
    found = runs.find(uri, Stores(settings=settings))

    def attempt() -> pa.Table:
        run, _ = manifest.read_standing(found)  # without a manifest the run is not complete
        return projection(run).to_table().sort_by("path")

    return _convert(retry_if_vanished(attempt, found.folder), as_)


def scan(uri: str, settings: StoreSettings | None = None) -> ds.Dataset:
    """Open the table of a run as a dataset, which is read batch by batch: for tables that are larger than memory.

    Parameters
    ----------
    uri : str
        Local path or URI of a run's folder, or of an output: then its latest run is read.
    settings : StoreSettings, optional
        How a bucket is reached, such as the `RunConfig` of the run; default: as AWS's own variables and files say.

    Returns
    -------
    pyarrow.dataset.Dataset
        ``path, label, split, pca_features, version``, one row a photograph, in no particular order. Columns and rows
        are read when they are asked for; a run that is pruned meanwhile fails then.

    Raises
    ------
    NothingToReadError
        There is no finished run.
    StoreError
        The store refuses, or the manifest is damaged.

    Examples
    --------
    Only some columns of some rows are read:

    >>> import pyarrow.compute as pc
    >>> import verger
    >>> dataset = verger.scan("out")
    >>> dataset.count_rows(filter=pc.field("label") == "Pear")
    3
    >>> for batch in dataset.to_batches(columns=["path", "pca_features"]):
    ...     print(batch.num_rows)
    3
    """
    found = runs.find(uri, Stores(settings=settings))
    return retry_if_vanished(lambda: projection(manifest.read_standing(found)[0]), found.folder)


@overload
def load_features(uri: str, as_: Literal["arrow"] = "arrow", settings: StoreSettings | None = None) -> pa.Table: ...
@overload
def load_features(uri: str, as_: Literal["pandas"], settings: StoreSettings | None = None) -> pd.DataFrame: ...
def load_features(uri: str, as_: Literal["arrow", "pandas"] = "arrow", settings: StoreSettings | None = None) -> Any:
    """Read the network's features of the photographs of a run.

    Parameters
    ----------
    uri : str
        Local path or URI of a run's folder, or of an output: then its latest run is read.
    as_ : {"arrow", "pandas"}
        Type of the result.
    settings : StoreSettings, optional
        How a bucket is reached, such as the `RunConfig` of the run; default: as AWS's own variables and files say.

    Returns
    -------
    pyarrow.Table or pandas.DataFrame
        The columns of the feature store, one row a photograph of the run, sorted by path. ``features`` is float32;
        ``label`` and ``split`` are those of the run.

    Raises
    ------
    NothingToReadError
        There is no finished run, or its features were deleted.
    StoreError
        The store refuses, or a file is damaged.

    Examples
    --------
    >>> import verger
    >>> features = verger.load_features("out")
    >>> features.num_rows
    3
    >>> features["features"][1].as_py()
    [1.0, 1.0, 1.0, 1.0]
    """
    run = runs.find(uri, Stores(settings=settings))
    return _convert(retry_if_vanished(lambda: _features(run), run.output), as_)


def _features(run: Run) -> pa.Table:
    """The stored rows of a run's photographs, with the labels and splits of its table."""
    run, document = manifest.read_standing(run)
    wanted = projection(run).to_table(columns=["path", "label", "split", "version"])
    store = FeatureStore(run.storage, run.output, document.features.fingerprint)
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
    # Both are sorted by the same unique key, so that row n is the same photograph in both, without joining the lists.
    return rows.add_column(1, "label", labels["label"]).add_column(2, "split", labels["split"])


def _convert(table: pa.Table, as_: str) -> Any:
    return table.to_pandas() if as_ == "pandas" else table
