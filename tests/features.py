"""Feature rows for the tests of the components, and a comparison with scikit-learn's PCA."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from verger.components.aggregation import PartialSum, merge_groups
from verger.components.scatter import ScatterMoments, ScatterSums

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from verger.components.pca import Pca

Rows = npt.NDArray[np.float32]


def table(rows: Rows, start: int = 0) -> pa.Table:
    """The rows as a table of photographs below ``/in``, with two labels, whose paths tell them."""
    numbers = range(start, start + len(rows))
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.table(
        {
            "path": pa.array([f"/in/label {number % 2}/{number:06d}.png" for number in numbers], pa.string()),
            "label": pa.array([f"label {number % 2}" for number in numbers], pa.string()),
            "split": pa.array([None] * len(rows), pa.string()),
            "version": pa.array([f"{number}-1" for number in numbers], pa.string()),
            "features": pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.ravel(), pa.float32())),
        }
    )


def frame(spark: SparkSession, rows: Rows, partitions: int = 1) -> DataFrame:
    """The rows in a number of partitions of uneven sizes, some of which are empty where there are many."""
    cuts = np.sort(np.random.default_rng(partitions).integers(0, len(rows) + 1, partitions - 1))
    bounds = [0, *cuts.tolist(), len(rows)]
    # Spark makes a partition of each batch, but of none where there is no row.
    filler = table(rows[:1]).set_column(0, "path", pa.array(["filler"]))
    pieces = [table(rows[start:stop], start) if stop > start else filler for start, stop in pairwise(bounds)]
    made = spark.createDataFrame(pa.concat_tables(pieces)).where("path != 'filler'")
    assert made.rdd.getNumPartitions() == partitions
    return made


def moments_of(rows: Rows, reference: npt.NDArray[np.float64] | None = None, batch: int = 64) -> ScatterMoments:
    """The moments of rows by the partial sums that Spark's tasks compute, merged as the driver merges them."""
    dimension = rows.shape[1]
    sums = ScatterSums(dimension)
    parts = [
        PartialSum(partial.block, partial.n, partial.values, partial.mean, group=group)
        for group, start in enumerate(range(0, len(rows), batch))
        for partial in sums(table(rows[start : start + batch]).to_batches())
    ]
    return ScatterMoments.from_sums(merge_groups(parts, sums.mean_correction), dimension, reference)


def decaying(n: int, d: int, decay: float = 1.0, seed: int = 0) -> Rows:
    """Normal rows whose standard deviations fall as 1 / i^decay, along rotated axes."""
    random = np.random.default_rng(seed)
    axes = np.linalg.qr(random.normal(size=(d, d)))[0]
    rows = random.normal(size=(n, d)) / np.arange(1, d + 1) ** decay
    return (rows @ axes).astype(np.float32)


def log_spaced(n: int, d: int, decades: float, seed: int = 0) -> Rows:
    """Rows whose covariance has eigenvalues evenly spaced on a logarithmic scale over a number of decades."""
    random = np.random.default_rng(seed)
    rank = min(n, d)
    left = np.linalg.qr(random.normal(size=(n, rank)))[0]
    right = np.linalg.qr(random.normal(size=(d, rank)))[0]
    return ((left * 10 ** np.linspace(0, -decades / 2, rank)) @ right.T).astype(np.float32)


def shapes() -> dict[str, Rows]:
    """Rows that are numerically difficult for a PCA, each in its own way."""
    tall = decaying(300, 40)
    constant = tall.copy()
    constant[:, 3] = 7.25
    constant[:, 11] = 0
    constant[:, 20] = 1000
    constant[5, 20] += 0.001
    return {
        "tall": tall,
        "wide": decaying(40, 150),
        "constant columns": constant,
        "duplicates": np.repeat(decaying(30, 20), 5, axis=0),
        "far from the origin": tall + np.linspace(-3000, 5000, 40, dtype=np.float32),
        "rank 7": np.rint(decaying(200, 7) * 64) @ np.random.default_rng(1).integers(-3, 4, (7, 30)).astype(np.float32),
        "wide spectrum": log_spaced(300, 60, 12),
        "two photographs": decaying(2, 10),
        "one feature": decaying(50, 1),
    }


def assert_like_sklearn(pca: Pca, rows: Rows, standardize: bool) -> None:
    """Compare with scikit-learn's full PCA in float64, as closely as float64 allows.

    Shares within 1e-6 where the eigenvalue is above 1e-10 of the first, else within 1e-12 of the total;
    components within 1e-13 / gap of the eigenvalues. Where the gap is too small for that, only their orthonormality is
    compared.
    """
    wanted = rows.astype(np.float64)
    if standardize:
        scaler = StandardScaler().fit(wanted)
        assert pca.scale is not None
        np.testing.assert_allclose(pca.scale, scaler.scale_, rtol=1e-12)
        wanted = scaler.transform(wanted)
    else:
        assert pca.scale is None
    reference = PCA(svd_solver="full").fit(wanted)
    k = pca.n_components
    spread = float(np.abs(rows).max())
    np.testing.assert_allclose(pca.mean, rows.astype(np.float64).mean(axis=0), rtol=1e-13, atol=1e-14 * spread)
    np.testing.assert_allclose(pca.total_variance, reference.explained_variance_.sum(), rtol=1e-12)

    values = reference.explained_variance_
    above = values[:k] > 1e-10 * values[0]
    ratios, expected = pca.explained_variance_ratio, reference.explained_variance_ratio_[:k]
    np.testing.assert_allclose(ratios[above], expected[above], rtol=1e-6)
    np.testing.assert_allclose(ratios[~above], expected[~above], rtol=0, atol=1e-12)
    np.testing.assert_allclose(pca.explained_variance / pca.total_variance, ratios, rtol=1e-14)

    gaps = np.abs(np.diff(np.append(values, 0.0))) / values[0]
    gap = np.minimum(gaps[:k], np.append(np.inf, gaps)[:k])
    with np.errstate(divide="ignore"):
        allowed = 1e-13 / gap
    clear = allowed < 1e-2
    assert clear.any()
    difference = np.abs(pca.components - reference.components_[:k]).max(axis=1)
    assert (difference[clear] <= allowed[clear]).all(), (difference[clear] / allowed[clear]).max()
    np.testing.assert_allclose(pca.components @ pca.components.T, np.eye(k), atol=1e-9)
    assert (pca.components[np.arange(k), np.abs(pca.components).argmax(axis=1)] > 0).all()
