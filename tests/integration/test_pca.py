from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from tests.features import assert_like_sklearn, decaying, frame, shapes, table
from verger.components import moments
from verger.components.aggregation import MAX_GROUPS, _partial_sums
from verger.components.pca import Pca, fit, fit_moments
from verger.components.precision import full_pass_reason
from verger.components.projection import measure_drift
from verger.components.retention import kept_share
from verger.components.scatter import ScatterMoments, ScatterSums, scatter_moments
from verger.components.solvers import dual, gram, products, selection
from verger.errors import DoesNotFitError, ExitCode, NothingToReadError, VergerError
from verger.storage.local import LocalStorage

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from tests.features import Rows as Matrix
    from verger.components.rows import Rows

pytestmark = pytest.mark.required_in_ci


def fitted(features: Rows, dimension: int, **settings: Any) -> Pca:
    """A fit with the defaults of a run, all components unless the settings say otherwise."""
    defaults: dict[str, Any] = {"variance": None, "components": 10_000, "standardize": False, "solver": "auto"}
    if "variance" in settings:
        defaults["components"] = None
    return fit(
        features,
        **{"dimension": dimension, "seed": 0, "memory": 2 << 30, **defaults, **settings},
    ).pca


def assert_same(one: Pca, other: Pca) -> None:
    """The same fit but for 1e-9, components as far as their variance is well apart from the others'."""
    assert (one.n_components, one.rank, one.n_photographs) == (other.n_components, other.rank, other.n_photographs)
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(one.explained_variance, other.explained_variance, rtol=1e-9)
    np.testing.assert_allclose(one.components, other.components, atol=1e-9)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("name", shapes())
def test_the_gram_solver_agrees_with_sklearn(spark: SparkSession, name: str, standardize: bool) -> None:
    rows = shapes()[name]
    found = fitted(frame(spark, rows, 5), rows.shape[1], standardize=standardize)
    assert found.solver == "gram"
    assert found.n_photographs == len(rows)
    assert_like_sklearn(found, rows, standardize)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("name", ["tall", "wide", "constant columns", "far from the origin", "two photographs"])
def test_the_dual_solver_agrees_with_sklearn(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, name: str, standardize: bool
) -> None:
    monkeypatch.setattr(selection, "GRAM_MAX_DIMENSION", 0)
    rows = shapes()[name]
    found = fitted(frame(spark, rows, 5), rows.shape[1], standardize=standardize)
    assert found.solver == "dual"
    assert_like_sklearn(found, rows, standardize)


def test_the_dual_solver_in_many_stripes_and_passes(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = decaying(60, 500, decay=0.5)
    monkeypatch.setattr(selection, "GRAM_MAX_DIMENSION", 0)
    whole = fitted(frame(spark, rows, 3), rows.shape[1], components=30)
    monkeypatch.setattr(dual, "_STRIPE_BYTES", 8 * 60 * 7)
    monkeypatch.setattr(products, "TASK_BYTES", 8 * 500 * 11)
    assert_same(fitted(frame(spark, rows, 4), rows.shape[1], components=30), whole)
    assert_like_sklearn(whole, rows, False)


@pytest.mark.parametrize("solver", ["gram", "dual", "randomized"])
def test_components_do_not_depend_on_partitions(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, solver: str
) -> None:
    rows = decaying(90, 30) + 3
    if solver == "dual":
        monkeypatch.setattr(selection, "GRAM_MAX_DIMENSION", 0)
    how = {"solver": "randomized" if solver == "randomized" else "auto", "variance": 0.9, "standardize": True}
    one = fitted(frame(spark, rows), 30, **how)
    assert one.solver == solver
    for partitions in (2, 7, 40):
        assert_same(fitted(frame(spark, rows, partitions), 30, **how), one)


def test_components_do_not_depend_on_the_size_of_arrow_batches(spark: SparkSession) -> None:
    rows = decaying(200, 12)
    features = frame(spark, rows, 2)
    whole = fitted(features, 12)
    before = spark.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch", "10000")
    try:
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "7")
        np.testing.assert_array_equal(fitted(features, 12).components, whole.components)
    finally:
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", before)


def test_many_partial_sums_are_merged_before_they_reach_the_driver(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = decaying(400, 30)
    monkeypatch.setattr("verger.components.aggregation.BLOCK_BYTES", 8 * 30 * 30)
    features = frame(spark, rows, 40).select("path", "features")
    scatter = ScatterSums(30)
    reaching = _partial_sums(features, scatter, scatter.mean_correction, 30 * 31 // 2, 40).toArrow()
    assert 1 < reaching.num_rows <= MAX_GROUPS
    assert sum(reaching["n"].to_pylist()) == 400
    merged = gram.solve(scatter_moments(features, 30, tasks=40), False)
    direct = gram.solve(scatter_moments(features, 30, tasks=1), False)
    np.testing.assert_allclose(merged.variances, direct.variances, rtol=1e-12)
    np.testing.assert_allclose(np.abs(np.sum(merged.components(30) * direct.components(30), axis=1)), 1, rtol=1e-9)


def test_merging_in_blocks_does_not_depend_on_the_shuffle(spark: SparkSession) -> None:
    rows = decaying(100, 740)
    features = frame(spark, rows, 20).select("path", "features")
    scatter = ScatterSums(740)
    plan = _partial_sums(features, scatter, scatter.mean_correction, 740 * 741 // 2, 20)
    order = ["group", "block"]
    first, second = (plan.toArrow().sort_by([(name, "ascending") for name in order]) for _ in range(2))
    assert len(set(first["block"].to_pylist())) > 1
    assert first.num_rows == len(set(zip(first["group"].to_pylist(), first["block"].to_pylist(), strict=True)))
    assert first["values"] == second["values"]
    assert_like_sklearn(fitted(features, 740, components=20), rows, False)


def test_partial_sums_of_few_partitions_are_not_shuffled(spark: SparkSession) -> None:
    features = frame(spark, decaying(50, 8), 20).select("path", "features")
    for tasks, shuffled in ((8, False), (9, True)):
        plan = _partial_sums(features, ScatterSums(8), ScatterSums(8).mean_correction, 36, tasks)
        assert ("Exchange" in plan._jdf.queryExecution().executedPlan().toString()) is shuffled


def test_the_driver_collects_no_features(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyspark.sql.classic.dataframe import DataFrame as Classic

    collected: list[pa.Table] = []
    to_arrow = Classic.toArrow

    def watched(self: Classic) -> pa.Table:
        collected.append(to_arrow(self))
        return collected[-1]

    def refused(self: Classic) -> None:
        raise AssertionError("rows are collected")

    monkeypatch.setattr(Classic, "toArrow", watched)
    for name in ("collect", "toPandas", "toLocalIterator"):
        monkeypatch.setattr(Classic, name, refused)
    rows = decaying(500, 20)
    monkeypatch.setattr(selection, "GRAM_MAX_DIMENSION", 0)
    features = frame(spark, rows, 5)
    for solver in ("auto", "randomized"):
        fitted(features, 20, components=3, solver=solver)
    assert any("values" in one.schema.names for one in collected)
    for one in collected:
        assert "features" not in one.schema.names
        assert one.num_rows <= MAX_GROUPS or one.schema.names == ["path"]


def test_the_number_of_components_follows_the_requested_variance(spark: SparkSession) -> None:
    rows = decaying(200, 30, decay=0.7)
    features = frame(spark, rows, 3)
    whole = fitted(features, 30)
    shares = np.cumsum(whole.explained_variance_ratio)
    for asked in (0.5, 0.8, 0.95, 0.99, 1.0):
        found = fitted(features, 30, variance=asked)
        k = found.n_components
        assert k == min(int(np.searchsorted(shares, asked)) + 1, 30)
        assert found.requested == {"variance": asked}
        assert found.warnings == ()
        np.testing.assert_array_equal(found.components, whole.components[:k])
        np.testing.assert_array_equal(found.spectrum, whole.spectrum)


@pytest.mark.parametrize("solver", ["auto", "randomized"])
@pytest.mark.parametrize(("photographs", "asked", "k"), [(13, 50, 12), (100, 137, 99)])
def test_too_many_requested_components_are_lowered_with_one_warning(
    spark: SparkSession, photographs: int, asked: int, k: int, solver: str
) -> None:
    features = frame(spark, decaying(photographs, 150), 3)
    found = fitted(features, 150, components=asked, solver=solver)
    assert (found.n_components, found.rank) == (k, k)
    assert found.requested == {"components": asked}
    (warning,) = found.warnings
    assert f"{asked} components were asked for, {k} are used" in warning
    assert found.explained_variance_ratio.sum() == pytest.approx(1, abs=1e-12)


def test_the_number_of_components_is_lowered_to_the_rank(spark: SparkSession) -> None:
    rows = shapes()["rank 7"]
    found = fitted(frame(spark, rows, 3), rows.shape[1], components=10)
    assert (found.n_components, found.rank) == (7, 7)
    assert len(found.warnings) == 1
    assert fitted(frame(spark, rows, 3), rows.shape[1], variance=1.0).n_components == 7
    assert fitted(frame(spark, rows, 3), rows.shape[1], components=7).warnings == ()


@pytest.mark.parametrize("dimension", [6, 5000])
@pytest.mark.parametrize("solver", ["auto", "randomized"])
def test_too_few_or_equal_photographs_are_a_clear_error(spark: SparkSession, dimension: int, solver: str) -> None:
    row = np.linspace(0, 1, dimension, dtype=np.float32)[None, :]
    with pytest.raises(NothingToReadError, match="there is one photograph to fit") as caught:
        fitted(frame(spark, row), dimension, variance=0.8, solver=solver)
    assert caught.value.exit_code == ExitCode.NOTHING_TO_READ
    with pytest.raises(NothingToReadError, match="there is no photograph to fit"):
        fitted(frame(spark, row).where("false"), dimension, variance=0.8, solver=solver)
    with pytest.raises(NothingToReadError, match="all 9 photographs have the same features"):
        fitted(frame(spark, np.repeat(row, 9, axis=0), 4), dimension, variance=0.8, solver=solver)


def test_a_feature_that_is_not_a_number_is_an_error(spark: SparkSession) -> None:
    rows = decaying(10, 4)
    rows[3, 2] = np.nan
    with pytest.raises(VergerError, match="infinite or not a number"):
        fitted(frame(spark, rows, 2), 4)


def test_the_solver_is_chosen_by_size_and_memory(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    def used(rows: Matrix, **settings: Any) -> str:
        return fitted(frame(spark, rows), rows.shape[1], components=3, **settings).solver

    monkeypatch.setattr(selection, "GRAM_MAX_DIMENSION", 50)
    monkeypatch.setattr(selection, "DUAL_MAX_PHOTOGRAPHS", 80)
    small, wide, large = decaying(100, 50), decaying(80, 51), decaying(81, 60)
    assert [used(rows) for rows in (small, wide, large)] == ["gram", "dual", "randomized"]
    assert [used(rows, solver="exact") for rows in (small, wide, large)] == ["gram", "gram", "gram"]
    assert used(decaying(60, 70), solver="exact") == "dual"
    assert used(small, solver="randomized") == "randomized"
    # 5 * 8 * 50^2 bytes do not fit half of this.
    assert used(small, memory=190_000) == "randomized"
    # 8 (2 * 80^2 + 3 * 80) bytes of the dual problem fit half of the first, and not of the second.
    assert [used(wide, memory=memory) for memory in (209_000, 208_000)] == ["dual", "randomized"]
    # A variance may need all of its eigenvectors: 8 * 3 * 80^2 bytes.
    by_variance = [fitted(frame(spark, wide), 51, variance=0.5, memory=memory).solver for memory in (308_000, 307_000)]
    assert by_variance == ["dual", "randomized"]
    for rows, memory in ((small, 190_000), (wide, 190_000), (decaying(60, 70), 115_000)):
        with pytest.raises(DoesNotFitError, match="exact PCA of a .* matrix takes") as caught:
            used(rows, solver="exact", memory=memory)
        assert caught.value.exit_code == ExitCode.DOES_NOT_FIT


def test_the_error_of_components_that_do_not_fit_says_what_was_reached(spark: SparkSession) -> None:
    rows = np.random.default_rng(0).normal(size=(20, 5000)).astype(np.float32)
    with pytest.raises(DoesNotFitError, match=r"90\.00% of the variance asked for: 2 components fit"):
        fitted(frame(spark, rows), 5000, variance=0.9, memory=2 * 3 * 8 * 5000 * 2)


def test_features_that_changed_between_passes_are_an_error(spark: SparkSession) -> None:
    measured = moments.compute_moments(frame(spark, decaying(10, 5)).select("path", "features"), 5)
    twice = spark.createDataFrame(pa.concat_tables([table(decaying(5, 5)), table(decaying(5, 5))]))
    with pytest.raises(ValueError, match="10 with 5 paths"):
        dual.solve(twice.select("path", "features"), measured, False)


@pytest.mark.parametrize("standardize", [False, True])
def test_moments_that_a_run_adds_to_and_subtracts_from_give_the_fit_of_a_full_pass(
    spark: SparkSession, tmp_path: Path, standardize: bool
) -> None:
    rows = shapes()["far from the origin"]
    kept, gone, new = rows[:200], rows[200:212], rows[212:]
    features = frame(spark, np.concatenate([kept, gone]), 5).select("path", "features")
    request: dict[str, Any] = {"variance": 0.95, "components": None, "standardize": standardize, "memory": 2 << 30}
    first = fit(features, dimension=40, solver="auto", seed=0, **request)
    assert first.moments is not None
    assert_same(fit_moments(first.moments, **request), first.pca)
    first.moments.save(str(tmp_path), LocalStorage())

    base = ScatterMoments.load(str(tmp_path))
    assert full_pass_reason(base, standardize, len(gone)) is None
    parts = [
        scatter_moments(frame(spark, part, 3).select("path", "features"), 40, base.reference) for part in (new, gone)
    ]
    moments = base.add(parts[0]).subtract(parts[1])
    moments = moments.add(scatter_moments(features.where("false"), 40, base.reference))
    assert full_pass_reason(moments, standardize) is None
    today = np.concatenate([kept, new])
    found = fit_moments(moments, **request)
    whole = fit(frame(spark, today, 4).select("path", "features"), dimension=40, solver="auto", seed=0, **request)
    assert_same(found, whole.pca)
    assert_like_sklearn(found, today, standardize)
    # The share that a space keeps is what a pass over the rows measures, but for the shift of the mean.
    measured = measure_drift(frame(spark, today, 4).select("path", "features"), first.pca)
    assert kept_share(first.pca, moments) == pytest.approx(measured.share, abs=1e-2)


def test_only_the_gram_solver_up_to_its_largest_dimension_gives_moments(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = frame(spark, decaying(30, 20)).select("path", "features")
    settings: dict[str, Any] = {
        "dimension": 20, "variance": None, "components": 3, "standardize": False, "seed": 0, "memory": 1 << 30
    }  # fmt: skip
    assert fit(features, solver="exact", **settings).moments is not None
    assert fit(features, solver="randomized", **settings).moments is None
    monkeypatch.setattr(selection, "GRAM_MAX_DIMENSION", 19)
    for solver in ("exact", "auto"):
        assert fit(features, solver=solver, **settings).moments is None
