from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from sklearn.preprocessing import StandardScaler

from tests.features import decaying, shapes, table
from verger.components import rows as rows_module
from verger.components.aggregation import (
    BLOCK_BYTES,
    MAX_GROUPS,
    PartialSum,
    _group_count,
    merge,
    merge_groups,
    row_blocks,
)
from verger.components.moments import (
    Moments,
    Scaler,
    squared_mean_correction,
    standard_deviations,
    subtract_mean,
)
from verger.components.rows import chunks, chunks_with_paths, matrix
from verger.components.scatter import ScatterSums
from verger.components.triangle import assemble_lower_triangle


def batches(rows: np.ndarray, size: int) -> list[pa.RecordBatch]:
    return table(rows).to_batches(max_chunksize=size)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_chunks_do_not_depend_on_batches(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    rows = decaying(100, 5)
    monkeypatch.setattr(rows_module, "CHUNK_BYTES", 8 * 5 * 33)
    seen = [(paths.to_pylist(), chunk.copy()) for paths, chunk in chunks_with_paths(batches(rows, size), 5)]
    assert [len(chunk) for _, chunk in seen] == [33, 33, 33, 1]
    np.testing.assert_array_equal(np.vstack([chunk for _, chunk in seen]), rows)
    alone = [chunk.copy() for chunk in chunks((batch.select(["features"]) for batch in batches(rows, size)), 5)]
    assert all(np.array_equal(chunk, same) for (_, chunk), same in zip(seen, alone, strict=True))
    assert [path for paths, _ in seen for path in paths] == table(rows)["path"].to_pylist()


def test_the_matrix_of_a_sliced_batch_has_only_its_rows() -> None:
    rows = decaying(20, 5)
    (batch,) = batches(rows, 20)
    np.testing.assert_array_equal(matrix(batch.slice(4, 3), 5), rows[4:7])
    assert matrix(batch.slice(20), 5).shape == (0, 5)


def test_rows_of_another_length_are_an_error() -> None:
    (batch,) = batches(decaying(4, 6), 4)
    with pytest.raises(ValueError, match=r"\[6\] features where 3"):
        matrix(batch, 3)


@pytest.mark.parametrize("name", shapes())
def test_merged_scatter_matrix_is_that_of_all_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = shapes()[name]
    n, d = rows.shape
    monkeypatch.setattr("verger.components.aggregation.BLOCK_BYTES", 8 * d * 7)  # several blocks
    scatter = ScatterSums(d)
    cuts = sorted({0, 1, n // 3, n // 2, n})
    parts = [
        partial
        for group, (start, stop) in enumerate(pairwise(cuts))
        for partial in (
            PartialSum(found.block, found.n, found.values, found.mean, group=group)
            for found in scatter(batches(rows[start:stop], 5))
        )
    ]
    np.random.default_rng(0).shuffle(parts)
    found = merge_groups(parts, scatter.mean_correction)
    exact = rows.astype(np.longdouble)
    centred = exact - exact.mean(axis=0)
    expected = np.tril(centred.T @ centred).astype(float)
    assert {partial.n for partial in found} == {n}
    spread = float(np.abs(rows).max())
    np.testing.assert_allclose(found[0].mean[0], exact.mean(axis=0).astype(float), rtol=1e-14, atol=1e-15 * spread)
    size = np.sqrt(np.diag(expected))
    error = np.abs(np.tril(assemble_lower_triangle([partial.values for partial in found], d)) - expected)
    assert (error <= 1e-13 * np.outer(size, size) + 1e-300).all()


def test_merging_keeps_small_variances_of_features_far_from_zero() -> None:
    values = 1e6 + 0.1 * np.random.default_rng(0).normal(size=(1000, 1))
    values = np.float32(values)
    parts = []
    for part in np.split(values.astype(np.float64), 10):
        mean = subtract_mean(part)
        parts.append(PartialSum(0, len(part), (part**2).sum(axis=0), mean))
    total = parts[0]
    for part in parts[1:]:
        total = merge(total, part, squared_mean_correction)
    exact = values.astype(np.longdouble)
    np.testing.assert_allclose(total.values / total.n, exact.var(axis=0).astype(float), rtol=1e-14)
    np.testing.assert_allclose(total.mean.sum(axis=0), exact.mean(axis=0).astype(float), rtol=1e-15)


def test_row_blocks_cover_the_matrix_and_are_bounded() -> None:
    for rows, columns in [(4096, 4096), (25088, 300), (3, 10_000_000), (1, 1)]:
        blocks = row_blocks(rows, columns)
        assert [i for block in blocks for i in range(block.start, block.stop)] == list(range(rows))
        assert all((b.stop - b.start) * columns * 8 <= BLOCK_BYTES or b.stop - b.start == 1 for b in blocks)


def test_few_partial_sums_reach_the_driver_and_fewer_where_they_are_large() -> None:
    assert _group_count(1280 * 1281 // 2) == MAX_GROUPS == 8
    assert _group_count(4096 * 4097 // 2) == 3
    assert _group_count(8192 * 8193 // 2) == 1


@pytest.mark.parametrize("name", shapes())
def test_standard_deviations_are_those_of_sklearn(name: str) -> None:
    rows = shapes()[name].astype(np.float64)
    mean = rows.mean(axis=0)
    found = standard_deviations(len(rows), mean, ((rows - mean) ** 2).sum(axis=0))
    np.testing.assert_allclose(found, StandardScaler().fit(rows).scale_, rtol=1e-12)


def test_total_variance_is_that_of_the_scaled_rows() -> None:
    rows = shapes()["constant columns"].astype(np.float64)
    mean = rows.mean(axis=0)
    moments = Moments(len(rows), mean, ((rows - mean) ** 2).sum(axis=0))
    centring, standardizing = moments.scaler(False), moments.scaler(True)
    assert moments.total_variance(centring) == pytest.approx(rows.var(axis=0, ddof=1).sum(), rel=1e-12)
    scaled = StandardScaler().fit_transform(rows)
    assert moments.total_variance(standardizing) == pytest.approx(scaled.var(axis=0, ddof=1).sum(), rel=1e-12)
    np.testing.assert_allclose(standardizing.transform_in_place(rows.copy()), scaled, rtol=1e-9, atol=1e-12)
    half = slice(10, 25)
    np.testing.assert_array_equal(
        standardizing.select_features(half).transform_in_place(rows[:, half].copy()),
        standardizing.transform_in_place(rows)[:, half],
    )
    assert Scaler(mean, None).select_features(half).scale is None
