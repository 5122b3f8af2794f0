"""Tables of runs, compared by what is in them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

import verger
from tests.cpu import assert_within_tolerance
from verger.tables.runs import Run

Rows = tuple[list[str], np.ndarray]


def rows(table: pa.Table, column: str, root: str) -> Rows:
    """Names below the folder, which is another on a machine than in a bucket, and one column of vectors, by name."""
    names = [path.removeprefix(f"{root}/") for path in table["path"].to_pylist()]
    order = np.argsort(names)
    return [names[i] for i in order], np.stack(table[column].to_pylist())[order]


def assert_same_features(found: Rows, expected: Rows) -> None:
    """The same photographs, each once, and features within the tolerance that holds between neighbours."""
    assert found[0] == expected[0]
    assert_within_tolerance(found[1], expected[1])


def assert_same_components(found: Rows, expected: Rows) -> None:
    """The same photographs, and the first ten components within a ten-thousandth of their range."""
    assert found[0] == expected[0]
    assert found[1].shape == expected[1].shape
    here = expected[1][:, :10]
    np.testing.assert_allclose(found[1][:, :10], here, rtol=0, atol=1e-4 * np.ptp(here))


def assert_same_table(run: Run, undisturbed: Run, root: str) -> None:
    """A run to which something was done has the table of one to which nothing was."""
    both = (run.folder, undisturbed.folder)
    found, expected = (rows(verger.load_features(folder), "features", root) for folder in both)
    assert_same_features(found, expected)
    found, expected = (rows(verger.load(folder), "pca_features", root) for folder in both)
    assert_same_components(found, expected)
