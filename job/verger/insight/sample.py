"""What insight sees of a run: its photographs by name, and a bounded, stated sample of their numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from verger.config import AnalysisSettings
from verger.errors import NothingToReadError
from verger.insight.arrays import Float32Array, Indices, codes
from verger.storage.base import raise_if_corrupt
from verger.tables import reader
from verger.tables.runs import Run
from verger.tables.schemas import FEATURES
from verger.tables.store import FILE, KEY, FeatureStore, deduplicate, retry_if_vanished, semi_join

NAMED = 2_000_000
"""Photographs that are looked at by name and digest."""
ROWS = 200_000
"""Photographs whose components are taken."""
FEATURED = 50_000
"""Photographs whose features are taken too."""
FLOOR = 50
"""So many photographs of each label come before its share."""
_SHARE = 4  # components, and features with their copy, take at most this part of the driver's memory each
_COPIES = 2  # features as they are, and as the audit compares them
_SPREAD = 4  # a sample of less than one in so many comes from few files: not all of the store is read for it
_COLUMNS = ["path", "label", "split", "version"]


@dataclass(frozen=True, eq=False)
class Sample:
    """A run as insight sees it.

    Attributes
    ----------
    named : pyarrow.Table
        ``path, label, split, version, sha256`` of all photographs of the run, sorted by path; of a run of more than
        `NAMED`, those of ``photographs``.
    photographs : pyarrow.Table
        The same columns: the photographs whose components are here, sorted by path.
    components : ndarray of float32, shape (n, k)
        Of ``photographs``, row by row.
    featured : ndarray of int64, shape (m,)
        Rows of ``photographs`` whose features are here, ascending.
    features : ndarray of float32, shape (m, d)
        Of these, row by row.
    root : str
        Canonical folder of the input, above all paths.
    total : int
        Photographs of the run.
    stated : str
        What this is, in words.
    """

    named: pa.Table
    photographs: pa.Table
    components: Float32Array
    featured: Indices
    features: Float32Array
    root: str
    total: int
    stated: str

    def below(self, table: pa.Table | None = None) -> list[str]:
        """Paths of the photographs (or of another table) below the input."""
        paths = (self.photographs if table is None else table)["path"]
        return list(pc.utf8_slice_codeunits(paths, len(self.root.rstrip("/")) + 1).to_pylist())


def take(run: Run, store: FeatureStore, settings: AnalysisSettings, source: str) -> Sample:
    """Sample a run whose table is written, its manifest not yet.

    Parameters
    ----------
    run : Run
    store : FeatureStore
        That of the run's features.
    settings : AnalysisSettings
        ``driver_memory`` bounds the sample, ``seed`` draws it.
    source : str
        Canonical folder of the photographs.
    """
    return retry_if_vanished(lambda: _take(run, store, settings, source), store.folder)


def _take(run: Run, store: FeatureStore, settings: AnalysisSettings, source: str) -> Sample:
    with raise_if_corrupt(run.path("projection")):
        rows = reader.projection(run).to_table(_COLUMNS).sort_by([(name, "ascending") for name in KEY])
    if not rows.num_rows:
        raise NothingToReadError(f"the run's table, {run.path('projection')}, is gone", "Run again")
    known = semi_join(store.known(), rows)  # both are sorted by path, and a run has a path in one version
    if known.num_rows != rows.num_rows:
        raise NothingToReadError(f"{rows.num_rows - known.num_rows} photographs of the run are not in {store.folder}")
    k = _width(reader.projection(run), "pca_features")
    d = _width(_stored(store, known["file"][:1]), "features")
    random = np.random.default_rng(settings.seed)
    chosen = _drawn(rows, known, min(ROWS, _fitting(k, settings)), random)
    photographs, files = rows.take(chosen), known.take(chosen)
    featured = _drawn(photographs, files, min(FEATURED, _fitting(_COPIES * d, settings)), random)
    few = rows.num_rows <= NAMED
    named = _with_digests(rows, store, known) if few else _with_digests(photographs, store, files)
    return Sample(
        named=named,
        photographs=named.take(chosen) if few else named,
        components=_gathered(reader.projection(run), "pca_features", photographs, k),
        featured=featured,
        features=_gathered(_stored(store, files.take(featured)["file"]), "features", photographs.take(featured), d),
        root=source,
        total=rows.num_rows,
        stated=_stated(rows.num_rows, len(chosen), len(featured), settings.seed),
    )


def stratified(strata: npt.NDArray[np.integer], number: int, ranks: npt.NDArray[np.float64], first: int = 0) -> Indices:
    """Indices of ``number`` rows, ascending: `FLOOR` of each stratum first, then of each its share.

    Parameters
    ----------
    strata : ndarray of int, shape (n,)
        Codes from 0.
    number : int
        All rows are taken where there are no more.
    ranks : ndarray of float64, shape (n,)
        Within a stratum, the rows of lowest rank are taken.
    first : int
        One row of every stratum comes before a second of any, and so on up to this many.
    """
    if len(strata) <= number:
        return np.arange(len(strata), dtype=np.int64)
    order = np.lexsort((ranks, strata))
    counts = np.bincount(strata)
    position = np.empty(len(strata))
    position[order] = np.arange(len(strata)) - np.repeat(np.cumsum(counts) - counts, counts)
    share = np.maximum(0, position - FLOOR + 1) / counts[strata]
    return np.sort(np.lexsort((ranks, share, np.minimum(position, first)))[:number]).astype(np.int64)


def _drawn(rows: pa.Table, files: pa.Table, number: int, random: np.random.Generator) -> Indices:
    """Indices of a sample that is stratified by label; a small one comes from few files."""
    if rows.num_rows <= number:
        return np.arange(rows.num_rows, dtype=np.int64)
    ranks = random.random(rows.num_rows)
    if rows.num_rows > _SPREAD * number:
        file = codes(files["file"])
        ranks += random.permutation(int(file.max()) + 1)[file]
    return stratified(codes(rows["label"]), number, ranks)


def _fitting(width: int, settings: AnalysisSettings) -> int:
    return max(1, settings.driver_bytes // _SHARE // (4 * width))


def _width(dataset: ds.Dataset, column: str) -> int:
    return int(pc.list_value_length(dataset.head(1, columns=[column])[column])[0].as_py())


def _stored(store: FeatureStore, files: pa.ChunkedArray) -> ds.Dataset:
    return ds.dataset(sorted(pc.unique(files).to_pylist()), schema=FEATURES, filesystem=store.storage.arrow())


def _with_digests(rows: pa.Table, store: FeatureStore, known: pa.Table) -> pa.Table:
    """The rows, which are sorted by path, with the digest of each photograph."""
    found = _stored(store, known["file"]).to_table([*KEY, "sha256", FILE])
    return rows.append_column("sha256", deduplicate(semi_join(found, rows), FILE)["sha256"])


def _gathered(dataset: ds.Dataset, column: str, wanted: pa.Table, width: int) -> Float32Array:
    """A column of lists, of the wanted photographs alone and in their order, batch by batch."""
    keys, found = _keys(wanted), np.zeros(wanted.num_rows, bool)
    values = np.empty((wanted.num_rows, width), np.float32)
    for batch in dataset.to_batches([*KEY, column], batch_size=8192, batch_readahead=2, fragment_readahead=2):
        places = pc.index_in(_keys(batch), value_set=keys)
        here = places.is_valid()
        at = places.filter(here).to_numpy()
        values[at] = pc.list_flatten(batch[column].filter(here)).to_numpy(zero_copy_only=False).reshape(-1, width)
        found[at] = True
    if not found.all():
        raise NothingToReadError(f"{int((~found).sum())} photographs have no {column} any more", "Run again")
    return values


def _keys(rows: pa.Table | pa.RecordBatch) -> pa.Array:
    # NUL can stand in neither a path nor a version.
    joined = pc.binary_join_element_wise(rows["path"], rows["version"], "\0")
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def _stated(total: int, rows: int, featured: int, seed: int) -> str:
    if featured == total:
        return f"all {total:,} photographs"
    drawn = f"drawn by label with seed {seed}"
    if rows == total:
        return f"components of all {total:,} photographs, features of {featured:,} of them, {drawn}"
    return f"components of {rows:,} of {total:,} photographs, features of {featured:,} of them, {drawn}"
