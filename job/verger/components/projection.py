"""Features through a PCA: the table of principal components, and how well an old space fits new photographs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from verger.components.aggregation import Partial, broadcast, total
from verger.components.moments import Standard
from verger.components.pca import Pca
from verger.components.rows import chunks, matrix

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame, SparkSession

# How many times the expected squared distance from the components' space is too far.
DRIFT = 1.5
# Rows multiplied at a time. Always this many, the last filled up, so that BLAS takes the same way through
# every row and a photograph's components do not depend on its neighbours.
_ROWS = 192
_SCHEMA = "path string, label string, split string, pca_features array<float>, version string"


def project(features: DataFrame, pca: Pca, spark: SparkSession) -> DataFrame:
    """The principal components of each row.

    Parameters
    ----------
    features : pyspark.sql.DataFrame
        Columns ``path, label, split, version`` and ``features array<float>``.
    pca : Pca
    spark : pyspark.sql.SparkSession

    Returns
    -------
    pyspark.sql.DataFrame
        Columns ``path, label, split, pca_features array<float>, version``; computed in float64; lazy, as
        many partitions as ``features``.
    """
    columns = features.select("path", "label", "split", "features", "version")
    return columns.mapInArrow(_Project(spark.sparkContext.broadcast(pca)), _SCHEMA)


@dataclass(frozen=True)
class _Project:
    sent: Broadcast[Pca]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        pca = self.sent.value
        for batch in batches:
            values = _transformed(matrix(batch, len(pca.mean)), pca)
            offsets = np.arange(len(values) + 1, dtype=np.int32) * pca.n_components
            lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.ravel()))
            column = batch.schema.get_field_index("features")
            yield batch.set_column(column, "pca_features", lists)


def _transformed(rows: np.ndarray[Any, np.dtype[np.float32]], pca: Pca) -> np.ndarray[Any, np.dtype[np.float32]]:
    result = np.empty((len(rows), pca.n_components), np.float32)
    block = np.zeros((_ROWS, len(pca.mean)), np.float32)
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        block[: len(part)] = part
        result[start : start + _ROWS] = pca.transform(block)[: len(part)]
    return result


@dataclass(frozen=True)
class Kept:
    """How well the space of a PCA fits photographs that it was not fitted on.

    Attributes
    ----------
    n_photographs : int
    share : float
        Of the photographs' variance about the fit's mean, what the components keep.
    fit_share : float
        The same for the photographs of the fit.
    beyond : float
        Share of the photographs of which the components leave more than one and a half times what photographs
        like those of the fit would lead one to expect.
    """

    n_photographs: int
    share: float
    fit_share: float
    beyond: float

    @property
    def drifted(self) -> bool:
        """Whether most photographs are beyond what is expected.

        A mean would be decided by a few photographs: where features hardly vary in the fit, single ones leave a
        hundred times the mean. On halves of real photographs, at most 42 % of the one half were beyond what
        the other led to expect.
        """
        return self.beyond > 0.5

    @property
    def warning(self) -> str:
        """What to tell the user where they are."""
        return (
            f"these {self.n_photographs} photographs are not like those of the fit: the components keep "
            f"{self.share:.1%} of their variance ({self.fit_share:.1%} in the fit), and {self.beyond:.0%} of them "
            f"lie further from the space than expected: consider fitting anew"
        )

    def summary(self) -> dict[str, Any]:
        """What the manifest says."""
        return {**asdict(self), "drifted": self.drifted}


def kept(features: DataFrame, pca: Pca, spark: SparkSession) -> Kept:
    """Measure what the components keep of (new) photographs, in one pass.

    Parameters
    ----------
    features : pyspark.sql.DataFrame
        Columns ``path`` and ``features``; not empty.
    pca : Pca
    spark : pyspark.sql.SparkSession
    """
    with broadcast(spark, (pca, expected_residual(pca))) as sent:
        measured = total(features.select("path", "features"), _Residuals(sent), size=3)[0]
    energy, residual, beyond = measured.values.tolist()
    return Kept(
        n_photographs=measured.n,
        share=1 - residual / energy if energy else 1.0,
        fit_share=float(pca.explained_variance_ratio.sum()),
        beyond=beyond / measured.n,
    )


def expected_residual(pca: Pca) -> float:
    """Squared distance from the space of the components that a photograph like those of the fit should have.

    The fit minimised that of its own n photographs; as in generalised cross-validation, theirs is taken
    (n / (n - 1 - k))^2 times to be that of others. Where the fit left nothing, rounding is allowed for.
    """
    n, k = pca.n_photographs, pca.n_components
    own = pca.total_variance * (1 - float(pca.explained_variance_ratio.sum())) * (n - 1) / n
    return max(own * (n / max(n - 1 - k, 1)) ** 2, 1e-9 * pca.total_variance)


@dataclass(frozen=True)
class _Residuals:
    """Sums of squared distances from the fit's mean, of those from the components' space, and of those beyond."""

    sent: Broadcast[tuple[Pca, float]]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Partial]:
        pca, expected = self.sent.value
        standard = Standard(pca.mean, pca.scale)
        for _, rows in chunks(batches, len(pca.mean)):
            standard.centre(rows)
            energy = np.einsum("ij,ij->i", rows, rows)
            inside = rows @ pca.components.T
            left = np.maximum(energy - np.einsum("ij,ij->i", inside, inside), 0.0)
            yield Partial(0, len(rows), np.array([energy.sum(), left.sum(), np.sum(left > DRIFT * expected)]))
