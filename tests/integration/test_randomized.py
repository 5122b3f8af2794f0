from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.decomposition import PCA

from tests.features import decaying, frame
from verger.components.pca import fit
from verger.components.solvers import products
from verger.errors import DoesNotFitError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.required_in_ci


@pytest.mark.parametrize("variance", [0.6, 0.9])
def test_as_many_components_as_sklearn_or_few_more(
    spark: SparkSession, variance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "TASK_BYTES", 8 * 400 * 50)  # several passes a product
    rows = decaying(500, 400, decay=0.6)
    reference = PCA(svd_solver="full").fit(rows.astype(np.float64))
    needed = int(np.searchsorted(np.cumsum(reference.explained_variance_ratio_), variance)) + 1
    found = fit(
        frame(spark, rows, 3).select("path", "features"),
        dimension=400, variance=variance, components=None, standardize=False, solver="randomized", seed=0,
        memory=1 << 30,
    ).pca  # fmt: skip
    assert found.solver == "randomized"
    assert needed <= found.n_components <= 1.02 * needed
    assert found.total_variance == pytest.approx(reference.explained_variance_.sum(), rel=1e-12)
    leading = slice(0, 5)
    np.testing.assert_allclose(
        found.explained_variance_ratio[leading], reference.explained_variance_ratio_[leading], rtol=1e-3
    )
    np.testing.assert_allclose(found.components @ found.components.T, np.eye(found.n_components), atol=1e-12)
    assert (found.components[:, :].max(axis=1) >= -found.components.min(axis=1) - 1e-9).all()


def test_a_subspace_of_full_rank_gives_the_exact_components(spark: SparkSession) -> None:
    rows = decaying(30, 200)
    settings = {"dimension": 200, "variance": None, "components": 29, "standardize": True, "seed": 3, "memory": 1 << 30}
    features = frame(spark, rows, 4).select("path", "features")
    exact, found = (fit(features, solver=solver, **settings).pca for solver in ("exact", "randomized"))
    np.testing.assert_allclose(found.explained_variance, exact.explained_variance, rtol=1e-9)
    np.testing.assert_allclose(found.components[:10], exact.components[:10], atol=1e-9)


def test_components_beyond_half_of_the_memory_are_an_error(spark: SparkSession) -> None:
    features = frame(spark, decaying(100, 300, decay=0.1), 2).select("path", "features")
    with pytest.raises(DoesNotFitError, match="10 components fit half of the driver's memory"):
        fit(
            features, dimension=300, variance=0.99, components=None, standardize=False, solver="auto", seed=0,
            memory=2 * 6 * 8 * 300 * 10,
        )  # fmt: skip
