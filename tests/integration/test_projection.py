from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
import pytest

from tests.features import decaying, frame, shapes, table
from verger.components.pca import Pca, fit
from verger.components.projection import measure_drift, project
from verger.storage.local import LocalStorage

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.features import Rows as Matrix
    from verger.components.rows import Rows

pytestmark = pytest.mark.required_in_ci


def fitted(features: Rows, dimension: int, variance: float = 0.8, standardize: bool = True) -> Pca:
    return fit(
        features,
        dimension=dimension, variance=variance, components=None, standardize=standardize, solver="auto", seed=0,
        memory=1 << 30,
    ).pca  # fmt: skip


def projected(features: Rows, pca: Pca) -> dict[str, Any]:
    """Columns by name, rows in the order of their numbers."""
    found = project(features, pca, "/in").toArrow()
    found = found.take(pc.sort_indices(pc.replace_substring_regex(found["path"], ".*/", "")))
    columns: dict[str, Any] = found.to_pydict()
    columns["pca_features"] = np.array(columns["pca_features"])
    return columns


def test_projection_equals_transform(spark: SparkSession) -> None:
    rows = decaying(500, 30) + 2
    features = frame(spark, rows, 3)
    pca = fitted(features, 30)
    lazy = project(features, pca, "/in")
    assert lazy.dtypes == [
        ("path", "string"), ("label", "string"), ("split", "string"), ("pca_features", "array<float>"),
        ("version", "string"),
    ]  # fmt: skip
    found, given = projected(features, pca), table(rows).to_pydict()
    np.testing.assert_array_equal(found["pca_features"], pca.transform(rows).astype(np.float32))
    for name in ("path", "label", "split", "version"):
        assert found[name] == given[name]


@pytest.mark.parametrize("name", ["tall", "wide", "one feature"])
def test_projection_does_not_depend_on_partitions_and_batches(spark: SparkSession, name: str) -> None:
    rows = shapes()[name]
    features = frame(spark, rows)
    pca = fitted(features, rows.shape[1], standardize=False)
    whole = projected(features, pca)["pca_features"]
    before = spark.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch", "10000")
    try:
        for partitions, batch in ((2, 10_000), (7, 1), (40, 13)):
            spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", before)
            again = frame(spark, rows, partitions)
            spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", batch)
            found = projected(again, pca)["pca_features"]
            assert np.abs(found - whole).max() <= 1e-9 * np.ptp(whole)
    finally:
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", before)


def test_a_loaded_pca_projects_the_same(spark: SparkSession, tmp_path: Path) -> None:
    rows = decaying(50, 12)
    features = frame(spark, rows, 2)
    pca = fitted(features, 12)
    pca.save(str(tmp_path), LocalStorage())
    loaded = projected(features, Pca.load(str(tmp_path)))
    np.testing.assert_array_equal(loaded["pca_features"], projected(features, pca)["pca_features"])


def variance_kept(rows: Matrix, pca: Pca) -> float:
    """The share of the variance about the fit's mean that the components keep."""
    scale = np.ones(len(pca.mean)) if pca.scale is None else pca.scale
    scaled = (rows.astype(np.float64) - pca.mean) / scale
    return float((pca.transform(rows) ** 2).sum() / (scaled**2).sum())


@pytest.mark.parametrize("standardize", [False, True])
def test_photographs_like_those_of_the_fit_have_not_drifted(spark: SparkSession, standardize: bool) -> None:
    rows = decaying(400, 40) + 1
    old, new = rows[:200], rows[200:]
    pca = fitted(frame(spark, old, 3), 40, standardize=standardize)
    of_fit = measure_drift(frame(spark, old, 3), pca)
    assert of_fit.share == pytest.approx(of_fit.fit_share, rel=1e-12)
    assert not of_fit.drifted
    found = measure_drift(frame(spark, new, 7), pca)
    assert found.n_photographs == 200
    assert found.share == pytest.approx(variance_kept(new, pca), rel=1e-12)
    assert found.fit_share == pytest.approx(pca.explained_variance_ratio.sum(), rel=1e-12)
    assert not found.drifted


def test_other_photographs_have_drifted(spark: SparkSession) -> None:
    old = decaying(200, 40)
    pca = fitted(frame(spark, old), 40)
    for new in (decaying(100, 40, seed=1), old[:50] + 3, old[:50] * 3):
        found = measure_drift(frame(spark, new, 3), pca)
        assert found.share == pytest.approx(variance_kept(new, pca), rel=1e-12)
        assert found.drifted
        assert f"{found.share:.1%}" in found.warning


def test_a_few_outliers_are_no_drift(spark: SparkSession) -> None:
    rows = decaying(400, 40)
    pca = fitted(frame(spark, rows[:200]), 40)
    new = rows[200:].copy()
    new[:10] *= 100
    found = measure_drift(frame(spark, new), pca)
    assert 10 / 200 <= found.beyond < 0.5
    assert not found.drifted


def test_drift_from_components_that_explain_all_variance(spark: SparkSession) -> None:
    rows = shapes()["rank 7"]
    pca = fitted(frame(spark, rows[:100]), 30, variance=1.0)
    assert pca.n_components == 7
    same = measure_drift(frame(spark, rows[100:]), pca)
    assert same.share == pytest.approx(1, abs=1e-12)
    assert not same.drifted
    assert measure_drift(frame(spark, decaying(50, 30)), pca).drifted


def test_photographs_at_the_mean_have_not_drifted(spark: SparkSession) -> None:
    rows = np.array([[1, 2], [3, 2]], np.float32)
    pca = fitted(frame(spark, rows), 2)
    found = measure_drift(frame(spark, np.array([[2, 2]], np.float32)), pca)
    assert (found.share, found.drifted) == (1.0, False)
