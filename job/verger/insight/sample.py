"""What insight sees of a run: a catalogue of its photographs, and a bounded sample of their components and features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from verger.config import AnalysisSettings
from verger.errors import NothingToReadError
from verger.insight.arrays import Float32Array, Float64Array, Indices, category_codes
from verger.insight.located import list_length, located_rows, read_lists, read_texts
from verger.storage.base import raise_if_corrupt
from verger.tables import reader
from verger.tables.file_errors import retry_if_vanished
from verger.tables.rows import KEY, row_keys
from verger.tables.runs import Run
from verger.tables.store import FeatureStore

MAX_CATALOGUED = 2_000_000
"""Photographs of a run up to which all of them are in the catalogue."""
MAX_PHOTOGRAPHS = 200_000
"""Photographs whose components are in the sample, at most."""
MAX_WITH_FEATURES = 50_000
"""Photographs whose features are in the sample too, at most."""
MIN_PER_STRATUM = 50
"""Photographs of each label that are taken before any label's share."""
_MEMORY_SHARE = 4  # components take at most a quarter of the driver's memory; so do features and their copy
_FEATURE_COPIES = 2  # the features, and the copy that the audit compares
_FEW_FILES_BELOW = 4  # a sample of less than a quarter comes from few files, so that not all of the store is read
_COLUMNS = ["path", "label", "split", "version"]


@dataclass(frozen=True, eq=False)
class Sample:
    """A run as insight sees it.

    Attributes
    ----------
    catalogue : pyarrow.Table
        ``path, label, split, version, sha256`` of all photographs of the run, sorted by path. Of a run of more than
        `MAX_CATALOGUED` photographs, it is ``photographs``.
    photographs : pyarrow.Table
        The same columns: the photographs whose components are in the sample, sorted by path.
    components : ndarray of float32, shape (n, k)
        Of ``photographs``, row by row.
    feature_rows : ndarray of int64, shape (m,)
        Rows of ``photographs`` whose features are in the sample, ascending.
    features : ndarray of float32, shape (m, d)
        Of ``feature_rows``, row by row.
    root : str
        Canonical URI of the input folder, above all paths.
    total : int
        Photographs of the run.
    description : str
        How much of the run this is, as a phrase for people.
    """

    catalogue: pa.Table
    photographs: pa.Table
    components: Float32Array
    feature_rows: Indices
    features: Float32Array
    root: str
    total: int
    description: str

    def with_features(self) -> pa.Table:
        """Those of ``photographs`` whose features are in the sample, in the order of ``features``."""
        return self.photographs.take(self.feature_rows)

    def relative_paths(self, photographs: pa.Table) -> list[str]:
        """Paths below the input folder.

        Parameters
        ----------
        photographs : pyarrow.Table
            With a column ``path``; each is below ``root``.
        """
        return list(pc.utf8_slice_codeunits(photographs["path"], len(self.root.rstrip("/")) + 1).to_pylist())


def draw_sample(run: Run, store: FeatureStore, settings: AnalysisSettings, source: str) -> Sample:
    """Sample a run whose table is written; its manifest need not be.

    Parameters
    ----------
    run : Run
        The run to sample.
    store : FeatureStore
        The store that holds the run's features.
    settings : AnalysisSettings
        ``driver_memory`` bounds the sample, ``seed`` draws it.
    source : str
        Canonical URI of the input folder.

    Raises
    ------
    NothingToReadError
        The run's table, or features of its photographs, are gone.
    StoreError
        One of these files is damaged.
    """
    return retry_if_vanished(lambda: _draw_sample(run, store, settings, source), store.folder)


def _draw_sample(run: Run, store: FeatureStore, settings: AnalysisSettings, source: str) -> Sample:
    random = np.random.default_rng(settings.seed)
    rows, total = located_rows(run, store, MAX_CATALOGUED, random)
    with raise_if_corrupt(run.path("projection")):
        table = reader.projection(run)
        if not table.count_rows():
            raise NothingToReadError(f"the run's table, {run.path('projection')}, is gone", "Run again")
        k = _list_length(table, "pca_features")
    d = list_length(store.storage, rows, "features")
    chosen = _draw(rows, min(MAX_PHOTOGRAPHS, _max_rows(k, settings)), random)
    drawn = rows.take(chosen)
    feature_rows = _draw(drawn, min(MAX_WITH_FEATURES, _max_rows(_FEATURE_COPIES * d, settings)), random)
    whole = total <= MAX_CATALOGUED
    catalogue = _with_digests(rows if whole else drawn, store)
    photographs = catalogue.take(chosen) if whole else catalogue
    with raise_if_corrupt(run.path("projection")):
        components = _read_lists(table, "pca_features", photographs, k)
    return Sample(
        catalogue=catalogue,
        photographs=photographs,
        components=components,
        feature_rows=feature_rows,
        features=read_lists(store.storage, drawn.take(feature_rows), "features", d),
        root=source,
        total=total,
        description=_description(total, len(chosen), len(feature_rows), settings.seed),
    )


def stratified(strata: npt.NDArray[np.integer], number: int, ranks: Float64Array, guaranteed: int = 0) -> Indices:
    """Draw a stratified sample: `MIN_PER_STRATUM` rows of each stratum first, then a share of each.

    Parameters
    ----------
    strata : ndarray of int, shape (n,)
        Codes from 0.
    number : int
        Rows to draw; all are taken where there are no more.
    ranks : ndarray of float64, shape (n,)
        Within a stratum, the rows of lowest rank are taken.
    guaranteed : int
        Up to so many rows of each stratum, no stratum gets another row before every stratum has as many.

    Returns
    -------
    ndarray of int64, shape (min(n, number),)
        Row numbers, ascending.
    """
    if len(strata) <= number:
        return np.arange(len(strata), dtype=np.int64)
    order = np.lexsort((ranks, strata))
    counts = np.bincount(strata)
    position = np.empty(len(strata))
    position[order] = np.arange(len(strata)) - np.repeat(np.cumsum(counts) - counts, counts)
    share = np.maximum(0, position - MIN_PER_STRATUM + 1) / counts[strata]
    return np.sort(np.lexsort((ranks, share, np.minimum(position, guaranteed)))[:number]).astype(np.int64)


def _draw(rows: pa.Table, number: int, random: np.random.Generator) -> Indices:
    """Row numbers of a sample that is stratified by label; a small one comes from few files."""
    if rows.num_rows <= number:
        return np.arange(rows.num_rows, dtype=np.int64)
    ranks = random.random(rows.num_rows)
    if rows.num_rows > _FEW_FILES_BELOW * number:
        file = category_codes(rows["file"])
        ranks += random.permutation(int(file.max()) + 1)[file]
    return stratified(category_codes(rows["label"]), number, ranks)


def _max_rows(width: int, settings: AnalysisSettings) -> int:
    """Rows of so many float32 values that the driver's memory allows."""
    return max(1, settings.driver_bytes // _MEMORY_SHARE // (4 * width))


def _list_length(dataset: ds.Dataset, column: str) -> int:
    """Length of the lists in a column, which is the same in every row."""
    return int(pc.list_value_length(dataset.head(1, columns=[column])[column])[0].as_py())


def _with_digests(rows: pa.Table, store: FeatureStore) -> pa.Table:
    """The rows with the SHA-256 of each photograph."""
    return rows.select(_COLUMNS).append_column("sha256", read_texts(store.storage, rows, "sha256"))


def _read_lists(dataset: ds.Dataset, column: str, photographs: pa.Table, width: int) -> Float32Array:
    """A column of lists as an array, for these photographs alone and in their order; read batch by batch."""
    keys, found = row_keys(photographs), np.zeros(photographs.num_rows, bool)
    values = np.empty((photographs.num_rows, width), np.float32)
    for batch in dataset.to_batches([*KEY, column], batch_size=8192, batch_readahead=2, fragment_readahead=2):
        indices = pc.index_in(row_keys(batch), value_set=keys)
        wanted = indices.is_valid()
        rows = indices.filter(wanted).to_numpy()
        values[rows] = pc.list_flatten(batch[column].filter(wanted)).to_numpy(zero_copy_only=False).reshape(-1, width)
        found[rows] = True
    if not found.all():
        raise NothingToReadError(f"{int((~found).sum())} photographs have no {column} any more", "Run again")
    return values


def _description(total: int, photographs: int, with_features: int, seed: int) -> str:
    if with_features == total:
        return f"all {total:,} photographs"
    drawn = f"drawn by label with seed {seed}"
    if photographs == total:
        return f"components of all {total:,} photographs, features of {with_features:,} of them, {drawn}"
    return f"components of {photographs:,} of {total:,} photographs, features of {with_features:,} of them, {drawn}"
