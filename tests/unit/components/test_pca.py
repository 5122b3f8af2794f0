from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.utils.extmath import svd_flip

from tests.features import decaying
from verger.components.moments import Moments
from verger.components.pca import Pca
from verger.components.projection import Drift, expected_residual
from verger.components.solvers.decomposition import (
    RequestedComponents,
    eigendecomposition,
    fix_signs,
    significant_eigenvalues,
)
from verger.errors import ExitCode, NothingToReadError, VergerError
from verger.storage.local import LocalStorage

pytestmark = pytest.mark.required_in_ci


def pca_of_six_features(scaled: bool = True) -> Pca:
    """A PCA of six features, without Spark."""
    rows = decaying(50, 6).astype(np.float64)
    scale = rows.std(axis=0) if scaled else None
    centred = rows - rows.mean(axis=0)
    values, vectors = eigendecomposition(np.cov(centred / (1 if scale is None else scale), rowvar=False))
    return Pca(
        components=fix_signs(vectors[:, :4].T),
        mean=rows.mean(axis=0),
        scale=scale,
        explained_variance=values[:4],
        explained_variance_ratio=values[:4] / values.sum(),
        spectrum=values,
        total_variance=float(values.sum()),
        n_photographs=50,
        requested={"components": 4},
        rank=6,
        solver="gram",
        warnings=("said once",),
    )


@pytest.mark.parametrize(
    ("share", "k"), [(0.1, 1), (0.5, 1), (0.500001, 2), (0.75, 2), (0.9, 4), (0.9999999999999999, 4), (1.0, 4)]
)
def test_the_fewest_components_that_reach_the_variance_are_needed(share: float, k: int) -> None:
    assert RequestedComponents(share, None).needed(np.cumsum([0.5, 0.25, 0.125, 0.125])) == k


def test_rounding_does_not_add_a_component() -> None:
    shares = np.cumsum(np.full(10, 0.1))
    assert shares[9] < 1.0
    assert RequestedComponents(1.0, None).needed(shares) == 10
    shares = np.cumsum(np.full(3, 1 / 3) - 1e-17)
    assert RequestedComponents(2 / 3, None).needed(shares) == 2


def test_a_request_beyond_all_components_needs_one_more_than_there_are() -> None:
    assert RequestedComponents(0.9, None).needed(np.array([0.5, 0.7])) == 3
    assert RequestedComponents(None, 50).needed(np.array([0.5, 0.7])) == 3
    assert RequestedComponents(None, 2).needed(np.array([0.5, 0.7])) == 2


def test_eigenvalues_are_descending_and_not_negative() -> None:
    rows = decaying(5, 30).astype(np.float64)
    centred = rows - rows.mean(axis=0)
    values, vectors = eigendecomposition(centred.T @ centred)
    assert np.linalg.eigvalsh(centred.T @ centred).min() < 0
    assert (values >= 0).all()
    assert (np.diff(values) <= 0).all()
    assert len(significant_eigenvalues(values, 5, 30)) == 4
    np.testing.assert_allclose((vectors * values) @ vectors.T, centred.T @ centred, atol=1e-12 * values[0])


def test_eigenvalues_within_rounding_of_zero_are_left_out() -> None:
    assert len(significant_eigenvalues(np.array([1.0, 1e-3, 1e-12, 1e-17, 0.0]), 100, 5)) == 3
    assert len(significant_eigenvalues(np.array([1.0, 0.9, 0.8]), 3, 10)) == 2


def test_signs_are_those_of_sklearn() -> None:
    components = np.linalg.qr(np.random.default_rng(0).normal(size=(30, 8)))[0].T
    expected = svd_flip(None, components.copy(), u_based_decision=False)[1]
    np.testing.assert_array_equal(fix_signs(components), expected)


def test_signs_do_not_depend_on_rounding() -> None:
    half = np.sqrt(0.5)
    for nudge in (1e-16, -1e-16, 1e-13, -1e-13):
        for sign in (1, -1):
            turned = fix_signs(sign * np.array([[half, -half - nudge]]))
            np.testing.assert_allclose(turned, [[half, -half]], atol=1e-12)


@pytest.mark.parametrize("scaled", [True, False])
def test_a_saved_pca_is_loaded_unchanged(tmp_path: Path, scaled: bool) -> None:
    pca = pca_of_six_features(scaled)
    pca.save(str(tmp_path / "pca"), LocalStorage())
    loaded = Pca.load(str(tmp_path / "pca"))
    rows = decaying(9, 6, seed=3)
    np.testing.assert_array_equal(loaded.transform(rows), pca.transform(rows))
    assert loaded.summary() == pca.summary()
    assert json.loads(json.dumps(pca.summary())) == pca.summary()
    np.testing.assert_array_equal(loaded.spectrum, pca.spectrum)
    assert (loaded.scale is None) is not scaled
    assert loaded.warnings == ()


def test_a_saved_pca_can_be_applied_with_numpy_alone(tmp_path: Path) -> None:
    pca = pca_of_six_features()
    pca.save(str(tmp_path), LocalStorage())
    rows = decaying(9, 6, seed=3)
    with np.load(tmp_path / "pca.npz", allow_pickle=False) as saved:
        by_hand = (rows - saved["mean"]) / saved["scale"] @ saved["components"].T
    np.testing.assert_allclose(by_hand, pca.transform(rows), rtol=1e-12)
    numbers = json.loads((tmp_path / "pca.json").read_text())
    assert (numbers["dimension"], numbers["n_components"], numbers["rank"]) == (6, 4, 6)


def test_load_and_transform_do_not_import_spark(tmp_path: Path) -> None:
    pca_of_six_features().save(str(tmp_path), LocalStorage())
    script = (
        "import sys; from verger.components.pca import Pca; import verger.components.projection\n"
        f"assert Pca.load({str(tmp_path)!r}).transform([[0.0] * 6]).shape == (1, 4)\n"
        "assert 'pyspark' not in sys.modules and 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_loading_from_a_folder_without_a_pca_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NothingToReadError, match=r"pca\.json does not exist"):
        Pca.load(str(tmp_path))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_transform_computes_in_float64(dtype: type) -> None:
    pca = pca_of_six_features()
    rows = np.rint(decaying(5, 6) * 100).astype(dtype)
    before = rows.copy()
    result = pca.transform(rows)
    assert result.dtype == np.float64
    expected = (rows.astype(np.float64) - pca.mean) / pca.scale @ pca.components.T
    np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize(("n", "said"), [(0, "no photograph"), (1, "one photograph")])
def test_too_few_photographs_are_a_clear_error(n: int, said: str) -> None:
    with pytest.raises(NothingToReadError, match=said) as caught:
        Moments(n, np.ones(3), np.zeros(3)).validated()
    assert caught.value.exit_code == ExitCode.NOTHING_TO_READ


def test_photographs_with_equal_features_are_a_clear_error() -> None:
    with pytest.raises(NothingToReadError, match="all 7 photographs have the same features"):
        Moments(7, np.ones(3), np.zeros(3)).validated()


def test_features_that_are_not_numbers_are_an_error() -> None:
    with pytest.raises(VergerError, match="infinite or not a number"):
        Moments(7, np.ones(2), np.array([1.0, np.nan])).validated()


def test_the_expected_residual_is_larger_than_that_of_the_fit() -> None:
    pca = pca_of_six_features()
    own = (pca.total_variance - pca.explained_variance.sum()) * 49 / 50
    assert expected_residual(pca) == pytest.approx(own * (50 / 45) ** 2, rel=1e-9)


def test_photographs_have_drifted_when_most_are_beyond() -> None:
    like = Drift(10, 0.7, 0.8, 0.5)
    other = Drift(10, 0.2, 0.8, 0.6)
    assert not like.drifted
    assert other.drifted
    assert "20.0%" in other.warning
    assert "80.0%" in other.warning
    assert other.summary()["drifted"] is True
