"""Which stored rows a pass over the features reads: the names of files, and a bitmap of the rows of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True, slots=True)
class SelectedFile:
    """The rows of one file that a pass reads.

    Attributes
    ----------
    path : str
        Canonical. A file of the feature store never changes, so that a row's number in it stays the same.
    rows : int
        Rows of the whole file.
    size : int
        Of the whole file, in bytes.
    wanted : bytes or None
        A bit a row, in the order of the file, as `numpy.packbits` packs them; None for all rows.
    """

    path: str
    rows: int
    size: int
    wanted: bytes | None = None

    @property
    def num_rows(self) -> int:
        """Rows that are read."""
        return self.rows if self.wanted is None else _count_bits(np.frombuffer(self.wanted, np.uint8))


@dataclass(frozen=True, slots=True)
class Selection:
    """The stored rows that a pass reads.

    Attributes
    ----------
    files : tuple of SelectedFile
        Each file once, by path; those of which no row is wanted are left out.
    """

    files: tuple[SelectedFile, ...]

    @property
    def num_rows(self) -> int:
        """Rows that are read."""
        return sum(file.num_rows for file in self.files)


def select_rows(
    located: Iterable[pa.RecordBatch], rows_of: Mapping[str, int], sizes: Mapping[str, int], folder: str = ""
) -> Selection:
    """Gather the places of rows, in any order, into a bitmap for each file.

    Of the rows themselves nothing is kept but their bits: one for each row of ``rows_of``.

    Parameters
    ----------
    located : iterable of pyarrow.RecordBatch
        Columns ``file`` (text, which may be dictionary-encoded) and ``row`` (integers, from 0). A row that comes twice
        is read once.
    rows_of : mapping of str to int
        Rows of each file that there is, by the names in ``located``.
    sizes : mapping of str to int
        Bytes of the same files.
    folder : str, optional
        What goes before each name to make a canonical path, with the slash between them; default: nothing.

    Returns
    -------
    Selection
        Of all rows that were located.

    Raises
    ------
    FileNotFoundError
        A row is in a file that is not in ``rows_of``: it has been replaced since the row was located.
    ValueError
        A file has no row of that number.
    """
    names = pa.array(sorted(rows_of), pa.string())
    counts = np.array([rows_of[name] for name in names.to_pylist()], np.int64)
    ends = np.cumsum((counts + 7) // 8)  # in bytes, as a bitmap of all files follows that of the one before
    bits = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
    starts = ends - (counts + 7) // 8
    for batch in located:
        files, rows = _file_numbers(batch.column("file"), names), batch.column("row").to_numpy()
        if np.any((rows < 0) | (rows >= counts[files])):
            raise ValueError("a row is located beyond the end of its file")
        np.bitwise_or.at(bits, starts[files] + rows // 8, np.uint8(128) >> (rows % 8).astype(np.uint8))
    bitmaps = (bits[start:end] for start, end in zip(starts, ends, strict=True))
    selected = (
        SelectedFile(folder + name, rows_of[name], sizes[name], None if wanted == rows_of[name] else bitmap.tobytes())
        for name, bitmap in zip(names.to_pylist(), bitmaps, strict=True)
        if (wanted := _count_bits(bitmap))
    )
    return Selection(tuple(selected))


def _file_numbers(files: pa.Array, names: pa.Array) -> npt.NDArray[np.int64]:
    """Position of each row's file among the names."""
    encoded = files if pa.types.is_dictionary(files.type) else files.dictionary_encode()
    positions = pc.index_in(encoded.dictionary, value_set=names).take(encoded.indices)
    if positions.null_count:
        raise FileNotFoundError(files.filter(pc.is_null(positions))[0].as_py())
    numbers: npt.NDArray[np.int64] = positions.cast(pa.int64()).to_numpy()
    return numbers


def _count_bits(bitmap: npt.NDArray[np.uint8]) -> int:
    return int(np.bitwise_count(bitmap).sum(dtype=np.int64))
