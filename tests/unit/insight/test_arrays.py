"""Codes of text, and moments of columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from verger.insight.arrays import category_codes, column_moments


def test_codes_number_values_in_order_of_appearance_null_included() -> None:

    assert list(category_codes(pa.chunked_array([["b", None], ["a", "b", None]]))) == [0, 1, 2, 0, 1]


def test_column_moments_are_those_of_double_precision() -> None:
    rows = (np.random.default_rng(0).normal(size=(5000, 7)) * np.geomspace(1, 1e4, 7) + 1e3).astype(np.float32)
    mean, deviation = column_moments(rows)
    np.testing.assert_allclose(mean, rows.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(deviation, rows.std(axis=0, dtype=np.float64), rtol=1e-12)
