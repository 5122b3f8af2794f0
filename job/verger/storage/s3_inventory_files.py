"""The files of an S3 Inventory report: CSV, Parquet or ORC, as columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from verger.batches import parquet_batches
from verger.errors import StoreError, UsageError
from verger.redaction import words

# Columns by their names without case and underscores, which differ between formats: ETag in CSV, e_tag in Parquet.
_NEEDED = {"key": "Key", "size": "Size", "etag": "ETag"}
_OF_VERSIONS = {"islatest": "IsLatest", "isdeletemarker": "IsDeleteMarker"}
_TYPES = {
    "key": pa.string(),
    "size": pa.int64(),
    "etag": pa.string(),
    "islatest": pa.bool_(),
    "isdeletemarker": pa.bool_(),
}
_BATCH_ROWS = 1 << 16
_CSV_BLOCK_BYTES = 8 << 20

_Reader = Callable[[pa.NativeFile, str, tuple[str, ...]], Iterator[pa.RecordBatch]]


def read_objects(file: IO[bytes], path: str, kind: str, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    """Read the latest versions of the objects that a file of a report lists.

    Parameters
    ----------
    file : binary file
        Its content, in a file of this machine.
    path : str
        Where it is from, for messages; a file of CSV is compressed where its name ends in ``.gz``.
    kind : str
        One of `FORMATS`.
    columns : tuple of str
        The columns of a file of CSV, which has no header.

    Yields
    ------
    pyarrow.RecordBatch
        ``key, size, etag``: the key as it is, not encoded; the ETag without quotes, empty where it is not known.

    Raises
    ------
    UsageError
        A column that is needed is missing.
    StoreError
        The file cannot be read.
    """
    # Arrow opens the file itself: its threads then need nothing of Python, which may be about to end.
    with _damage_explained(path), pa.OSFile(f"/proc/self/fd/{file.fileno()}") as opened:
        for rows in FORMATS[kind](opened, path, columns):
            yield _latest(rows)


def _latest(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The rows of latest versions that are no delete markers, without nulls."""
    if "islatest" in rows.schema.names:
        rows = rows.filter(pc.fill_null(rows["islatest"], True))
    if "isdeletemarker" in rows.schema.names:
        rows = rows.filter(pc.invert(pc.fill_null(rows["isdeletemarker"], False)))
    # No object has an empty ETag: one whose ETag is not known is rejected as changed when it is read.
    etag = pc.utf8_trim(pc.fill_null(rows["etag"], ""), '"')
    return pa.record_batch([rows["key"], pc.fill_null(rows["size"], 0), etag], ["key", "size", "etag"])


def _chosen(names: list[str], path: str) -> dict[str, str]:
    """The columns that are read: their plain names, and the file's own."""
    found = {name.replace("_", "").lower(): name for name in names}
    needed = _NEEDED | (_OF_VERSIONS if "versionid" in found else {})
    missing = [named for plain, named in needed.items() if plain not in found]
    if missing:
        raise UsageError(
            f"inventory {path} has no column {' and no column '.join(missing)}",
            f"Switch on {' and '.join(missing)} among the additional fields of the inventory's configuration, and use "
            "its next report",
        )
    return {plain: found[plain] for plain in _TYPES if plain in found}


def _renamed(rows: pa.RecordBatch, chosen: Mapping[str, str]) -> pa.RecordBatch:
    columns = [rows[name].cast(_TYPES[plain]) for plain, name in chosen.items()]
    return pa.record_batch(columns, list(chosen))


def _csv(file: pa.NativeFile, path: str, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    import pyarrow.csv as pacsv

    chosen = _chosen(list(columns), path)
    types = {name: pa.binary() if plain == "key" else _TYPES[plain] for plain, name in chosen.items()}
    stream = pa.CompressedInputStream(file, "gzip") if path.endswith(".gz") else file
    layout = pacsv.ReadOptions(column_names=list(columns), block_size=_CSV_BLOCK_BYTES)
    wanted = pacsv.ConvertOptions(
        column_types=types, include_columns=list(chosen.values()), null_values=[""], strings_can_be_null=False
    )
    try:
        reader = pacsv.open_csv(stream, read_options=layout, convert_options=wanted)
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error):
            return
        raise
    for rows in reader:
        at = rows.schema.get_field_index(chosen["key"])
        yield _renamed(rows.set_column(at, chosen["key"], url_decoded(rows.column(at))), chosen)


def _parquet(file: pa.NativeFile, path: str, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as opened:
        chosen = _chosen(opened.schema_arrow.names, path)
        for rows in parquet_batches(opened, _BATCH_ROWS, list(chosen.values())):
            yield _renamed(rows, chosen)


def _orc(file: pa.NativeFile, path: str, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    from pyarrow import orc

    opened = orc.ORCFile(file)
    chosen = _chosen(opened.schema.names, path)
    for stripe in range(opened.nstripes):
        rows = opened.read_stripe(stripe, columns=list(chosen.values()))
        for start in range(0, rows.num_rows, _BATCH_ROWS):
            yield _renamed(rows.slice(start, _BATCH_ROWS), chosen)


FORMATS: Mapping[str, _Reader] = {"CSV": _csv, "Parquet": _parquet, "ORC": _orc}
"""The formats that are read, as a manifest names them, and what reads them."""


def url_decoded(texts: pa.BinaryArray) -> pa.StringArray:
    """Decode texts of a URL's query, in which a plus sign is a space: so AWS encodes the keys of an inventory in CSV.

    Parameters
    ----------
    texts : pyarrow.BinaryArray
        Without nulls. A percent sign that two hexadecimal digits do not follow stands for itself.

    Returns
    -------
    pyarrow.StringArray
        Of the same length.

    Raises
    ------
    pyarrow.ArrowInvalid
        What is decoded is not UTF-8.

    Examples
    --------
    >>> import pyarrow as pa
    >>> url_decoded(pa.array([b"in/Apple+Red/1%2B2.jpg", b"in/%C3%A9t%C3%A9.jpg"])).to_pylist()
    ['in/Apple Red/1+2.jpg', 'in/été.jpg']
    """
    _, offset_buffer, data_buffer = texts.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    first, last = (int(offsets[0]), int(offsets[-1])) if len(texts) else (0, 0)
    data = np.frombuffer(data_buffer or b"", np.uint8)[first:last].copy()
    ends = offsets[1:] - first
    data[data == ord("+")] = ord(" ")
    percent = np.flatnonzero(data == ord("%"))
    percent = percent[percent + 2 < ends[np.searchsorted(ends, percent, side="right")]] if len(percent) else percent
    high, low = _HEX_DIGITS[data[percent + 1]], _HEX_DIGITS[data[percent + 2]]
    encoded = (high < 16) & (low < 16)
    percent = percent[encoded]
    data[percent] = high[encoded] << 4 | low[encoded]
    kept = np.ones(len(data), np.bool_)
    kept[percent + 1] = kept[percent + 2] = False
    lengths = np.concatenate([[0], np.cumsum(kept)])
    starts = lengths[np.concatenate([[0], ends])].astype(np.int32)
    decoded = pa.Array.from_buffers(pa.binary(), len(texts), [None, pa.py_buffer(starts), pa.py_buffer(data[kept])])
    return decoded.cast(pa.string())


# The value of each byte as a hexadecimal digit; 255 where it is none.
_HEX_DIGITS = np.full(256, 255, np.uint8)
for _digits in ("0123456789abcdef", "0123456789ABCDEF"):
    _HEX_DIGITS[np.frombuffer(_digits.encode(), np.uint8)] = np.arange(16, dtype=np.uint8)


@contextmanager
def _damage_explained(path: str) -> Iterator[None]:
    """Turn Arrow's errors into one that names the file."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise StoreError(
            f"{path}, a file of the inventory report, cannot be read: {words(str(error), 120)}",
            "Name another report, or leave --inventory out",
        ) from error
