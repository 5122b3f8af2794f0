"""Codes of text, and moments of columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from verger.insight.arrays import codes, moments


def test_groups_are_codes_of_text() -> None:

    assert list(codes(pa.chunked_array([["b", None], ["a", "b", None]]))) == [0, 1, 2, 0, 1]


def test_moments_are_those_of_double_precision() -> None:
    rows = (np.random.default_rng(0).normal(size=(5000, 7)) * np.geomspace(1, 1e4, 7) + 1e3).astype(np.float32)
    mean, deviation = moments(rows)
    np.testing.assert_allclose(mean, rows.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(deviation, rows.std(axis=0, dtype=np.float64), rtol=1e-12)
