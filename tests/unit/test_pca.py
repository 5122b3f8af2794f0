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
from verger.components.projection import Kept, expected_residual
from verger.components.solvers.spectrum import Request, eigen, ranked, with_signs
from verger.errors import ExitCode, NothingToReadError, VergerError


def made(scaled: bool = True) -> Pca:
    """A PCA of six features, without Spark."""
    rows = decaying(50, 6).astype(np.float64)
    scale = rows.std(axis=0) if scaled else None
    centred = rows - rows.mean(axis=0)
    values, vectors = eigen(np.cov(centred / (1 if scale is None else scale), rowvar=False))
    return Pca(
        components=with_signs(vectors[:, :4].T),
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
def test_k_is_the_least_that_reaches_the_share(share: float, k: int) -> None:
    assert Request(share, None).count(np.cumsum([0.5, 0.25, 0.125, 0.125])) == k


def test_k_is_not_one_more_for_rounding() -> None:
    shares = np.cumsum(np.full(10, 0.1))
    assert shares[9] < 1.0
    assert Request(1.0, None).count(shares) == 10
    shares = np.cumsum(np.full(3, 1 / 3) - 1e-17)
    assert Request(2 / 3, None).count(shares) == 2


def test_what_does_not_suffice_counts_one_more_than_there_are() -> None:
    assert Request(0.9, None).count(np.array([0.5, 0.7])) == 3
    assert Request(None, 50).count(np.array([0.5, 0.7])) == 3
    assert Request(None, 2).count(np.array([0.5, 0.7])) == 2


def test_eigenvalues_fall_and_none_is_negative() -> None:
    rows = decaying(5, 30).astype(np.float64)
    centred = rows - rows.mean(axis=0)
    values, vectors = eigen(centred.T @ centred)
    assert np.linalg.eigvalsh(centred.T @ centred).min() < 0
    assert (values >= 0).all()
    assert (np.diff(values) <= 0).all()
    assert len(ranked(values, 5, 30)) == 4
    np.testing.assert_allclose((vectors * values) @ vectors.T, centred.T @ centred, atol=1e-12 * values[0])


def test_rank_leaves_out_what_rounding_left() -> None:
    assert len(ranked(np.array([1.0, 1e-3, 1e-12, 1e-17, 0.0]), 100, 5)) == 3
    assert len(ranked(np.array([1.0, 0.9, 0.8]), 3, 10)) == 2


def test_signs_are_those_of_sklearn() -> None:
    components = np.linalg.qr(np.random.default_rng(0).normal(size=(30, 8)))[0].T
    expected = svd_flip(None, components.copy(), u_based_decision=False)[1]
    np.testing.assert_array_equal(with_signs(components), expected)


def test_signs_do_not_hang_on_rounding() -> None:
    half = np.sqrt(0.5)
    for nudge in (1e-16, -1e-16, 1e-13, -1e-13):
        for sign in (1, -1):
            turned = with_signs(sign * np.array([[half, -half - nudge]]))
            np.testing.assert_allclose(turned, [[half, -half]], atol=1e-12)


@pytest.mark.parametrize("scaled", [True, False])
def test_what_is_saved_is_loaded(tmp_path: Path, scaled: bool) -> None:
    pca = made(scaled)
    pca.save(str(tmp_path / "pca"))
    loaded = Pca.load(str(tmp_path / "pca"))
    rows = decaying(9, 6, seed=3)
    np.testing.assert_array_equal(loaded.transform(rows), pca.transform(rows))
    assert loaded.summary() == pca.summary()
    assert json.loads(json.dumps(pca.summary())) == pca.summary()
    np.testing.assert_array_equal(loaded.spectrum, pca.spectrum)
    assert (loaded.scale is None) is not scaled
    assert loaded.warnings == ()


def test_what_is_saved_needs_numpy_alone(tmp_path: Path) -> None:
    pca = made()
    pca.save(str(tmp_path))
    rows = decaying(9, 6, seed=3)
    with np.load(tmp_path / "pca.npz", allow_pickle=False) as saved:
        by_hand = (rows - saved["mean"]) / saved["scale"] @ saved["components"].T
    np.testing.assert_allclose(by_hand, pca.transform(rows), rtol=1e-12)
    numbers = json.loads((tmp_path / "pca.json").read_text())
    assert (numbers["dimension"], numbers["n_components"], numbers["rank"]) == (6, 4, 6)


def test_spark_is_not_imported_to_load_and_transform(tmp_path: Path) -> None:
    made().save(str(tmp_path))
    script = (
        "import sys; from verger.components.pca import Pca; import verger.components.projection\n"
        f"assert Pca.load({str(tmp_path)!r}).transform([[0.0] * 6]).shape == (1, 4)\n"
        "assert 'pyspark' not in sys.modules and 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_no_pca_to_load(tmp_path: Path) -> None:
    with pytest.raises(NothingToReadError, match=r"pca\.json does not exist"):
        Pca.load(str(tmp_path))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_transform_computes_in_float64(dtype: type) -> None:
    pca = made()
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
        Moments(n, np.ones(3), np.zeros(3)).checked()
    assert caught.value.exit_code == ExitCode.NOTHING_TO_READ


def test_no_variance_is_a_clear_error() -> None:
    with pytest.raises(NothingToReadError, match="all 7 photographs have the same features"):
        Moments(7, np.ones(3), np.zeros(3)).checked()


def test_features_that_are_no_numbers_are_an_error() -> None:
    with pytest.raises(VergerError, match="infinite or not a number"):
        Moments(7, np.ones(2), np.array([1.0, np.nan])).checked()


def test_the_fit_promises_less_to_others_than_to_its_own() -> None:
    pca = made()
    own = (pca.total_variance - pca.explained_variance.sum()) * 49 / 50
    assert expected_residual(pca) == pytest.approx(own * (50 / 45) ** 2, rel=1e-9)


def test_drift_is_when_most_are_beyond() -> None:
    like = Kept(10, 0.7, 0.8, 0.5)
    other = Kept(10, 0.2, 0.8, 0.6)
    assert not like.drifted
    assert other.drifted
    assert "20.0%" in other.warning
    assert "80.0%" in other.warning
    assert other.summary()["drifted"] is True
