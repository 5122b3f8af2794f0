"""Moments of the rows of a run: they are saved, and the next run adds what is new and subtracts what is gone."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from verger.components.aggregation import PartialSum, aggregate, row_blocks
from verger.components.moments import Moments, subtract_mean
from verger.components.rows import Float64Array, Rows, chunks
from verger.components.triangle import add_square, diagonal, pack, packed_size, unpack
from verger.storage.base import Storage, raise_if_corrupt
from verger.storage.stores import Stores
from verger.storage.uri import join

# An addition of moments rounds a sum once; the sum over rows that a full pass takes has about four times that error.
_ADDITION_ERROR = 0.25


@dataclass(frozen=True, eq=False)
class ScatterMoments:
    """Number, sum and scatter matrix of rows, about a reference that stays when rows are added or subtracted.

    With the reference near the rows' mean, numbers are small where a feature is far from 0 and hardly varies. The
    reference and ``sum / n`` are the mean in two parts: their sum would lose what deviations need.

    Attributes
    ----------
    n : int
        Rows.
    reference : ndarray of float64, shape (d,)
        What the sums are about: the mean of the rows of the last full pass.
    sum : ndarray of float64, shape (d,)
        Deviations from the reference, summed over the rows.
    scatter : ndarray of float64, shape (d * (d + 1) / 2,)
        Products of two features' deviations from the reference, summed over the rows: the lower triangle, row
        after row, as `triangle.pack` makes it.
    magnitude : ndarray of float64, shape (d,)
        What was rounded to get the diagonal of ``scatter``: squared deviations of all rows that were ever added or
        subtracted, and a quarter of the diagonal after each change. In a full pass it is the diagonal itself. The
        rounding error of an element (i, j) of the scatter matrix is a small multiple of eps *
        sqrt(magnitude[i] * magnitude[j]).
    full_pass_rows : int
        Rows of the last full pass; 0 for moments that never were one.
    subtracted_rows : int
        Rows subtracted since the last full pass.

    Examples
    --------
    The file of a run needs numpy alone:

    >>> import numpy as np
    >>> import tempfile
    >>> from verger.storage.local import LocalStorage
    >>> rows = np.array([[1.0, 2.0], [3.0, 2.0], [5.0, 8.0]])
    >>> moments = ScatterMoments(
    ...     n=3,
    ...     reference=np.array([3.0, 4.0]),
    ...     sum=np.zeros(2),
    ...     scatter=np.array([8.0, 12.0, 24.0]),
    ...     magnitude=np.array([8.0, 24.0]),
    ...     full_pass_rows=3,
    ...     subtracted_rows=0,
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     moments.save(folder, LocalStorage())
    ...     with np.load(folder + "/moments.npz") as saved:
    ...         n, total, scatter = saved["n"], saved["sum"], np.zeros((2, 2))
    ...         scatter[np.tril_indices(2)] = saved["scatter"]
    >>> covariance = (scatter - np.tril(np.outer(total, total)) / n) / (n - 1)
    >>> np.allclose(covariance, np.tril(np.cov(rows, rowvar=False)))
    True
    """

    n: int
    reference: Float64Array
    sum: Float64Array
    scatter: Float64Array
    magnitude: Float64Array
    full_pass_rows: int
    subtracted_rows: int

    @classmethod
    def from_sums(
        cls, sums: Sequence[PartialSum], dimension: int, reference: Float64Array | None = None
    ) -> ScatterMoments:
        """The moments from what `ScatterSums` has summed.

        Parameters
        ----------
        sums : sequence of PartialSum
            One a block, in the order of blocks; empty for no rows.
        dimension : int
            Features of a row, d.
        reference : ndarray of float64, shape (d,), optional
            That of the moments that these shall be added to or subtracted from; default: the rows' mean, which
            makes them the moments of a full pass.

        Returns
        -------
        ScatterMoments
            Of all rows.
        """
        n = sums[0].n if sums else 0
        mean = sums[0].mean if sums else np.zeros((2, dimension))
        scatter = pack((partial.values for partial in sums), dimension)
        full_pass = reference is None
        if reference is None:
            reference = mean[0].copy()
        with np.errstate(invalid="ignore"):  # features that are not finite: `Moments.validated` says so
            shift = (mean[0] - reference) + mean[1]
            if not full_pass:
                add_square(scatter, shift, n)
        return cls(n, reference, n * shift, scatter, diagonal(scatter, dimension), n if full_pass else 0, 0)

    @property
    def dimension(self) -> int:
        """Features of a row, d."""
        return len(self.reference)

    def add(self, other: ScatterMoments) -> ScatterMoments:
        """The moments of these rows and others.

        Parameters
        ----------
        other : ScatterMoments
            Of other rows, about the same reference.

        Returns
        -------
        ScatterMoments
            Counted from the last full pass of these.

        Raises
        ------
        ValueError
            The references differ.
        """
        return self._changed(other, 1)

    def subtract(self, other: ScatterMoments) -> ScatterMoments:
        """The moments of these rows without some of them.

        Parameters
        ----------
        other : ScatterMoments
            Of rows that are among these, about the same reference.

        Returns
        -------
        ScatterMoments
            Counted from the last full pass of these. `precision.full_pass_reason` says whether they are precise.

        Raises
        ------
        ValueError
            The references differ, or more rows are subtracted than there are.
        """
        if other.n > self.n:
            raise ValueError(f"{other.n} rows are subtracted from {self.n}")
        return replace(self._changed(other, -1), subtracted_rows=self.subtracted_rows + other.n)

    def _changed(self, other: ScatterMoments, sign: int) -> ScatterMoments:
        if not np.array_equal(self.reference, other.reference):
            raise ValueError("moments about another reference")
        if other.n == 0:
            return self
        scatter = self.scatter + sign * other.scatter
        rounded = _ADDITION_ERROR * np.abs(diagonal(scatter, self.dimension))
        return replace(
            self,
            n=self.n + sign * other.n,
            sum=self.sum + sign * other.sum,
            scatter=scatter,
            magnitude=self.magnitude + other.magnitude + rounded,
        )

    def feature_moments(self) -> Moments:
        """Mean and squared deviations of each feature.

        Returns
        -------
        Moments
            Not validated. Squares that rounding made negative are 0.
        """
        n = max(self.n, 1)
        squares = diagonal(self.scatter, self.dimension) - self.sum * (self.sum / n)
        return Moments(self.n, self.reference + self.sum / n, np.maximum(squares, 0.0))

    def centred_scatter(self) -> Float64Array:
        """The scatter matrix about the rows' mean.

        Returns
        -------
        ndarray of float64, shape (d, d)
            A new array: the lower triangle, and zero above the diagonal.
        """
        matrix, shift = unpack(self.scatter, self.dimension), self.sum / max(self.n, 1)
        for row, element in enumerate(self.sum):
            matrix[row, : row + 1] -= shift[: row + 1] * element
        return matrix

    def save(self, folder: str, storage: Storage) -> None:
        """Write ``moments.npz``, an array for each attribute.

        Parameters
        ----------
        folder : str
            Path or URI of the folder; a file of this name is overwritten.
        storage : Storage
            The store that holds it.

        Raises
        ------
        StoreError
            The store refuses or cannot be reached.
        """
        sink = io.BytesIO()
        arrays: dict[str, Any] = {name: getattr(self, name) for name in (*_COUNTS, *_ARRAYS)}
        np.savez(sink, **arrays)
        storage.write(join(folder, "moments.npz"), sink.getvalue())

    @classmethod
    def load(cls, folder: str, storage: Storage | None = None) -> ScatterMoments:
        """Read what `save` wrote.

        Parameters
        ----------
        folder : str
            Path or URI of the folder, ``runs/<run_id>/pca`` for a run.
        storage : Storage, optional
            The store that holds it; default: found by the folder's name.

        Returns
        -------
        ScatterMoments
            With the same numbers.

        Raises
        ------
        NothingToReadError
            There are no moments in ``folder``.
        StoreError
            They are damaged, or the store refuses or cannot be reached.
        """
        path = join(folder, "moments.npz")
        content = (storage or Stores().of(folder)).read(path)
        with raise_if_corrupt(path), np.load(io.BytesIO(content), allow_pickle=False) as saved:
            values: dict[str, Any] = {name: int(saved[name]) for name in _COUNTS}
            moments = cls(**values, **{name: saved[name] for name in _ARRAYS})
            moments._check()
        return moments

    def _check(self) -> None:
        """Raise ValueError unless arrays belong together."""
        d = self.dimension
        shapes = {name: (packed_size(d) if name == "scatter" else d,) for name in _ARRAYS}
        for name, shape in shapes.items():
            values = getattr(self, name)
            if values.shape != shape or values.dtype != np.float64 or not np.isfinite(values).all():
                raise ValueError(f"{name} is not an array of {shape} finite numbers")
        if min(self.n, self.full_pass_rows, self.subtracted_rows) < 0:
            raise ValueError("a count is negative")


_COUNTS = ("n", "full_pass_rows", "subtracted_rows")
_ARRAYS = ("reference", "sum", "scatter", "magnitude")


def scatter_moments(
    features: Rows, dimension: int, reference: Float64Array | None = None, tasks: int | None = None
) -> ScatterMoments:
    """The moments of all rows, in one pass.

    Parameters
    ----------
    features : Rows
        With a column ``features array<float>``; may be empty.
    dimension : int
        Features of a row, d.
    reference : ndarray of float64, shape (d,), optional
        That of the moments that these shall be added to or subtracted from; default: the rows' mean, which makes
        them the moments of a full pass.
    tasks : int, optional
        As in `aggregation.aggregate`.

    Returns
    -------
    ScatterMoments
        Not validated: `ScatterMoments.feature_moments` can be.
    """
    scatter = ScatterSums(dimension)
    sums = aggregate(
        features.select("features"), scatter, scatter.mean_correction, size=packed_size(dimension), tasks=tasks
    )
    return ScatterMoments.from_sums(sums, dimension, reference)


@dataclass(frozen=True)
class ScatterSums:
    """The lower triangle of the scatter matrix of a partition's rows about their mean, in blocks of its rows.

    Attributes
    ----------
    dimension : int
        Features of a row, d; the scatter matrix is d x d.
    """

    dimension: int

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[PartialSum]:
        """Compute the partial sums of one partition.

        Parameters
        ----------
        batches : iterable of pyarrow.RecordBatch
            With a column ``features array<float>``.

        Yields
        ------
        PartialSum
            One a block and chunk of rows.
        """
        for rows in chunks(batches, self.dimension):
            mean = subtract_mean(rows)
            for block, which in enumerate(row_blocks(self.dimension, self.dimension)):
                yield PartialSum(block, len(rows), (rows[:, which].T @ rows[:, : which.stop]).ravel(), mean)

    def mean_correction(self, block: int, delta: Float64Array) -> Float64Array:
        """The `aggregation.MeanCorrection` of the scatter matrix.

        Parameters
        ----------
        block : int
            Number of the block of rows.
        delta : ndarray of float64, shape (d,)
            Difference between two means.

        Returns
        -------
        ndarray of float64, shape (m,)
            The block's part of the outer product of ``delta`` with itself.
        """
        which = row_blocks(self.dimension, self.dimension)[block]
        return np.outer(delta[which], delta[: which.stop]).ravel()
