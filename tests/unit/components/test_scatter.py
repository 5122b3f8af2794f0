"""Moments that are saved, added and subtracted, against a full fit and scikit-learn."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.features import Rows, assert_like_sklearn, decaying, moments_of, shapes
from verger.components.pca import Pca, fit_moments
from verger.components.precision import full_pass_reason, has_cancelled
from verger.components.scatter import ScatterMoments
from verger.components.triangle import add_square, diagonal, pack, unpack
from verger.errors import DoesNotFitError, NothingToReadError, StoreError, VergerError
from verger.storage.local import LocalStorage

pytestmark = pytest.mark.required_in_ci


def fitted(moments: ScatterMoments, standardize: bool = False, **request: Any) -> Pca:
    settings = {"variance": None, "components": 10_000 if "variance" not in request else None, "memory": 1 << 30}
    return fit_moments(moments, **{**settings, **request}, standardize=standardize)


def assert_close(updated: Pca, full: Pca) -> None:
    """Shares of variance within 1e-9; subspaces within 1e-7 where the next variance is well apart."""
    assert (updated.n_photographs, updated.rank) == (full.n_photographs, full.rank)
    np.testing.assert_allclose(updated.explained_variance_ratio, full.explained_variance_ratio, rtol=0, atol=1e-9)
    np.testing.assert_allclose(updated.total_variance, full.total_variance, rtol=1e-11)
    np.testing.assert_allclose(updated.mean, full.mean, rtol=1e-12, atol=1e-12)
    if full.scale is not None:
        assert updated.scale is not None
        np.testing.assert_allclose(updated.scale, full.scale, rtol=1e-10)
    gaps = -np.diff(full.explained_variance_ratio)
    clear = np.flatnonzero(gaps > 1e-4) + 1
    for k in clear[:20]:
        one, other = (pca.components[:k] for pca in (updated, full))
        assert np.linalg.norm(one - (one @ other.T) @ other, 2) < 1e-7


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("name", shapes())
def test_a_fit_from_moments_agrees_with_sklearn(name: str, standardize: bool) -> None:
    rows = shapes()[name]
    assert_like_sklearn(fitted(moments_of(rows), standardize), rows, standardize)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("name", sorted(shapes().keys() - {"two photographs"}))
def test_rows_that_were_added_and_subtracted_leave_no_trace(name: str, standardize: bool) -> None:
    """The full pass reads some of the rows and some that go; the rest comes later."""
    rows = shapes()[name]
    kept, new = np.split(rows, [len(rows) * 2 // 3])
    moments = moments_of(np.concatenate([kept, new[:9]]))
    moments = moments.add(moments_of(new, moments.reference)).subtract(moments_of(new[:9], moments.reference))
    assert (moments.n, moments.full_pass_rows, moments.subtracted_rows) == (len(rows), len(kept) + 9, 9)
    assert not has_cancelled(moments, standardize)
    found = fitted(moments, standardize)
    assert found.rank == fitted(moments_of(rows), standardize).rank
    assert_like_sklearn(found, rows, standardize)


class Bucket:
    """Photographs that come, go, and are replaced by others, and the moments that follow them."""

    def __init__(self, seed: int, d: int, offset: float) -> None:
        self.random = np.random.default_rng(seed)
        axes = np.linalg.qr(self.random.normal(size=(d, d)))[0]
        self.axes = axes * np.arange(1, d + 1)[:, None] ** -0.6
        self.offset = np.linspace(-offset, offset, d)
        self.photographs = dict(enumerate(self.draw(400)))
        self.next = 400
        self.moments = moments_of(self.rows())
        self.full_passes = 0

    def draw(self, n: int) -> Rows:
        rows = self.random.normal(size=(n, len(self.axes))) @ self.axes + self.offset
        return np.asarray(rows, np.float32)

    def rows(self) -> Rows:
        return np.array(list(self.photographs.values()))

    def change(self) -> tuple[Rows, Rows]:
        """Some photographs go, half of them to be replaced, and some are new: the features that come and that go."""
        gone = self.random.choice(list(self.photographs), self.random.integers(0, 7), replace=False).tolist()
        going = np.array([self.photographs.pop(number) for number in gone]).reshape(-1, len(self.axes))
        numbers = gone[: len(gone) // 2] + list(range(self.next, self.next + int(self.random.integers(0, 8))))
        self.next += 8
        coming = self.draw(len(numbers))
        self.photographs.update(zip(numbers, coming, strict=True))
        return coming.astype(np.float32), going.astype(np.float32)

    def run(self, standardize: bool, always_update: bool) -> None:
        """One run: moments follow the change, or are those of a full pass where it is due."""
        before = self.moments
        coming, going = self.change()
        if always_update or full_pass_reason(before, standardize, len(going)) is None:
            self.moments = before.add(moments_of(coming, before.reference))
            self.moments = self.moments.subtract(moments_of(going, before.reference))
            assert not has_cancelled(self.moments, standardize)
        else:
            self.moments = moments_of(self.rows())
            self.full_passes += 1


@pytest.mark.parametrize("always_update", [False, True])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("offset", [0.0, 5000.0])
def test_random_sequences_of_changes_agree_with_a_full_fit(
    offset: float, standardize: bool, always_update: bool
) -> None:
    """400 runs, with full passes where they are due, and without any."""
    bucket = Bucket(int(offset), 24, offset)
    for step in range(400):
        bucket.run(standardize, always_update)
        assert bucket.moments.n == len(bucket.photographs)
        if step % 20 == 19:
            assert_close(fitted(bucket.moments, standardize), fitted(moments_of(bucket.rows()), standardize))
    assert_like_sklearn(fitted(bucket.moments, standardize), bucket.rows(), standardize)
    assert (bucket.full_passes == 0) if always_update else (10 < bucket.full_passes < 60)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("name", ["tall", "far from the origin", "constant columns"])
def test_fifty_times_the_rows_added_and_subtracted(name: str, standardize: bool) -> None:
    rows = shapes()[name]
    others = rows[np.random.default_rng(0).permutation(len(rows))]
    moments = moments_of(rows)
    for turn in range(50):
        moments = moments.add(moments_of(others, moments.reference, batch=30 + turn))
        moments = moments.subtract(moments_of(others, moments.reference, batch=90 - turn))
    assert moments.subtracted_rows == 50 * len(rows)
    assert not has_cancelled(moments, standardize)
    exact = moments_of(rows)
    size = np.sqrt(diagonal(exact.scatter, rows.shape[1]))
    error = np.abs(moments.centred_scatter() - exact.centred_scatter())
    assert (error <= 1e-12 * np.outer(size, size)).all()
    assert_close(fitted(moments, standardize), fitted(exact, standardize))


def test_a_feature_far_from_zero_that_hardly_varies_is_standardised_as_in_a_full_fit() -> None:
    rows = decaying(400, 6)
    rows[:, 2] = 1e6 + np.rint(rows[:, 2])  # steps of 1 of the mean's millionth
    base = moments_of(rows[:300])
    assert base.reference[2] > 1e5
    moments = base.add(moments_of(rows[280:], base.reference)).subtract(moments_of(rows[280:300], base.reference))
    assert not has_cancelled(moments, True)
    exact = rows.astype(np.longdouble).std(axis=0).astype(float)
    np.testing.assert_allclose(moments.feature_moments().scaler(True).scale, exact, rtol=1e-13)
    assert_like_sklearn(fitted(moments, True), rows, True)


def test_a_removed_photograph_that_was_unlike_the_others_makes_a_full_pass_due() -> None:
    rows = decaying(300, 12)
    outlier = np.full((1, 12), 1e7, np.float32)
    base = moments_of(rows)
    added = base.add(moments_of(outlier, base.reference))
    assert full_pass_reason(added, False) is full_pass_reason(added, True) is None
    assert_close(fitted(added), fitted(moments_of(np.concatenate([rows, outlier]))))
    removed = added.subtract(moments_of(outlier, base.reference))
    # What the guard prevents: the fit would be wrong.
    error = np.abs(fitted(removed).explained_variance_ratio[:5] - fitted(base).explained_variance_ratio[:5]).max()
    assert error > 1e-9
    for standardize in (False, True):
        reason = full_pass_reason(removed, standardize)
        assert reason is not None
        assert "unlike the others are gone" in reason


@pytest.mark.parametrize("size", [1e2, 1e4, 1e6, 1e8])
@pytest.mark.parametrize("standardize", [False, True])
def test_what_the_guard_lets_pass_is_precise(size: float, standardize: bool) -> None:
    """Outliers of any size in some features: either a full pass is due, or the fit is as good as one."""
    random, rows = np.random.default_rng(int(size)), decaying(400, 12)
    passed = 0
    for _ in range(30):
        outliers = (random.normal(size=(3, 12)) * size ** random.random((3, 12))).astype(np.float32)
        base = moments_of(np.concatenate([rows, outliers]))
        moments = base.subtract(moments_of(outliers, base.reference))
        if full_pass_reason(moments, standardize) is None:
            passed += 1
            assert_close(fitted(moments, standardize), fitted(moments_of(rows), standardize))
    assert passed == 30 if size == 1e2 and not standardize else passed < 30


def test_a_feature_that_becomes_constant_makes_a_full_pass_due_where_it_is_standardised() -> None:
    rows = decaying(300, 12)
    rows[:, 4] = 0.3
    active = rows[:2].copy()
    active[:, 4] = (0.7, 0.1)
    base = moments_of(np.concatenate([rows, active]))
    moments = base.subtract(moments_of(active, base.reference))
    assert full_pass_reason(moments, standardize=False) is None
    assert_close(fitted(moments), fitted(moments_of(rows)))
    assert full_pass_reason(moments, standardize=True) is not None
    # What the guard prevents: rounding errors would be scaled to the weight of a feature.
    assert fitted(moments, True).total_variance > fitted(moments_of(rows), True).total_variance + 0.5


def test_a_feature_that_was_and_stays_constant_needs_no_full_pass() -> None:
    rows = decaying(300, 5)
    rows[:, 1], rows[:, 2], rows[:, 3] = 0, 7.25, 1 / 3
    base = moments_of(rows)
    moments = base.subtract(moments_of(rows[:20], base.reference)).add(moments_of(rows[:10], base.reference))
    assert full_pass_reason(moments, standardize=True) is None
    np.testing.assert_array_equal(moments.feature_moments().scaler(True).scale[1:4], 1)
    # The same where rounding keeps the mean a little off the constant.
    off = base.reference + np.array([0, 0, 1e-15, 1e-16, 0])
    shifted = moments_of(rows, off).subtract(moments_of(rows[:20], off))
    assert not has_cancelled(shifted, standardize=True)


def test_more_than_a_tenth_subtracted_since_the_last_full_pass_makes_another_due() -> None:
    rows = decaying(200, 5)
    base = moments_of(rows)
    assert full_pass_reason(base, False, 20) is None
    assert "21 photographs are gone or changed since 200" in (full_pass_reason(base, False, 21) or "")
    later = base.subtract(moments_of(rows[:12], base.reference)).add(moments_of(rows, base.reference))
    later = later.subtract(moments_of(rows[12:19], base.reference))
    assert (later.n, later.full_pass_rows, later.subtracted_rows) == (381, 200, 19)
    assert full_pass_reason(later, True, 1) is None
    assert full_pass_reason(later, True, 2) is not None
    assert full_pass_reason(moments_of(rows), True, 20) is None


def test_more_features_than_a_scatter_matrix_is_formed_of_make_a_full_pass_due(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = moments_of(decaying(30, 9))
    monkeypatch.setattr("verger.components.solvers.selection.GRAM_MAX_DIMENSION", 9)
    assert full_pass_reason(moments, False) is None
    monkeypatch.setattr("verger.components.solvers.selection.GRAM_MAX_DIMENSION", 8)
    assert full_pass_reason(moments, False) == "9 features are more than 8"


def test_rounding_errors_of_an_update_do_not_count_as_rank() -> None:
    random, beyond = np.random.default_rng(0), 0
    for _ in range(40):
        axes = random.integers(-3, 4, (2, 6))
        rows = np.asarray(np.rint(random.normal(size=(12, 2)) * 64) @ axes, np.float32)
        outliers = np.asarray(np.rint(random.normal(size=(3, 2)) * 1000) @ axes, np.float32)
        base = moments_of(np.concatenate([rows, outliers]))
        moments = base.subtract(moments_of(outliers, base.reference))
        assert not has_cancelled(moments, False)
        assert fitted(moments).rank == fitted(moments, variance=1.0).n_components == np.linalg.matrix_rank(axes)
        beyond += fitted(replace(moments, magnitude=np.zeros(6))).rank > 2
    assert beyond > 0  # without regard to what has cancelled, the rank would be wrong


def test_rounding_of_many_small_updates_makes_a_full_pass_due_in_the_end() -> None:
    rows = decaying(200, 5)
    base = moments_of(rows)
    moments, one = base, moments_of(rows[:1], base.reference)
    for updates in (1200, 1200):
        assert not has_cancelled(moments, True)
        for _ in range(updates // 2):
            moments = moments.add(one).subtract(one)
    assert has_cancelled(moments, True)
    np.testing.assert_allclose(moments.scatter, base.scatter, rtol=0, atol=1e-12 * base.scatter.max())


def test_nothing_added_or_subtracted_changes_nothing() -> None:
    base = moments_of(decaying(30, 4))
    none = moments_of(decaying(0, 4), base.reference)
    assert none.n == 0
    for same in (base.add(none), base.subtract(none)):
        assert vars(same) == vars(base)


def test_moments_of_no_or_equal_rows_give_the_errors_of_a_fit() -> None:
    rows = np.repeat(decaying(1, 4), 9, axis=0)
    for moments, said in [
        (moments_of(rows[:0]), "there is no photograph to fit"),
        (moments_of(rows[:1]), "there is one photograph to fit"),
        (moments_of(rows), "all 9 photographs have the same features"),
    ]:
        with pytest.raises(NothingToReadError, match=said):
            fitted(moments)
    with pytest.raises(DoesNotFitError, match="exact PCA of a 4 x 4 matrix takes"):
        fitted(moments_of(decaying(9, 4)), memory=64)
    base = moments_of(decaying(9, 4))
    with np.errstate(invalid="ignore"), pytest.raises(VergerError, match="infinite or not a number"):
        fitted(base.add(moments_of(np.full((2, 4), np.nan, np.float32), base.reference)))


def test_moments_that_do_not_belong_together_are_an_error() -> None:
    one, other = moments_of(decaying(9, 4)), moments_of(decaying(9, 4, seed=1))
    for combine in (one.add, one.subtract):
        with pytest.raises(ValueError, match="another reference"):
            combine(other)
    with pytest.raises(ValueError, match="10 rows are subtracted from 9"):
        one.subtract(moments_of(decaying(10, 4), one.reference))


def test_saved_moments_are_loaded_unchanged_without_spark(tmp_path: Path) -> None:
    rows = decaying(50, 6) + 3
    base = moments_of(rows)
    moments = base.subtract(moments_of(rows[:4], base.reference))
    moments.save(str(tmp_path / "pca"), LocalStorage())
    loaded = ScatterMoments.load(str(tmp_path / "pca"))
    for name, value in vars(moments).items():
        np.testing.assert_array_equal(getattr(loaded, name), value)
    assert loaded.add(moments_of(rows[:4], loaded.reference)).n == 50
    script = (
        "import sys; from verger.components.scatter import ScatterMoments; import verger.components.retention\n"
        f"assert ScatterMoments.load({str(tmp_path / 'pca')!r}).n == 46\n"
        "assert 'pyspark' not in sys.modules and 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_damaged_or_missing_moments_are_an_error(tmp_path: Path) -> None:
    file = tmp_path / "moments.npz"
    with pytest.raises(NothingToReadError, match=r"moments\.npz does not exist"):
        ScatterMoments.load(str(tmp_path))
    moments = moments_of(decaying(50, 6))
    moments.save(str(tmp_path), LocalStorage())
    whole = file.read_bytes()
    arrays = dict(np.load(file))
    at = whole.index(moments.scatter.tobytes())
    for damage in (whole[:-30], whole[:at] + b"xx" + whole[at + 2 :], b"", b"no archive"):
        file.write_bytes(damage)
        with pytest.raises(StoreError, match=r"moments\.npz is damaged"):
            ScatterMoments.load(str(tmp_path))
    wrong: dict[str, Any] = {
        "scatter": arrays["scatter"][:-1],
        "sum": np.full(6, np.nan),
        "magnitude": arrays["magnitude"].astype(np.float32),
        "n": np.array(-1),
    }
    for name, value in wrong.items():
        np.savez(file, **{**arrays, name: value})
        with pytest.raises(StoreError, match=r"moments\.npz is damaged"):
            ScatterMoments.load(str(tmp_path))
    del arrays["reference"]
    np.savez(file, **arrays)
    with pytest.raises(StoreError, match=r"moments\.npz is damaged"):
        ScatterMoments.load(str(tmp_path))


def test_a_lower_triangle_is_packed_row_after_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verger.components.aggregation.BLOCK_BYTES", 8 * 7 * 3)
    matrix = np.arange(49.0).reshape(7, 7)
    packed = pack([matrix[rows, : rows.stop].ravel() for rows in (slice(0, 3), slice(3, 6), slice(6, 7))], 7)
    np.testing.assert_array_equal(packed, matrix[np.tril_indices(7)])
    np.testing.assert_array_equal(unpack(packed, 7), np.tril(matrix))
    np.testing.assert_array_equal(diagonal(packed, 7), np.diag(matrix))
    vector = np.arange(7.0) - 2
    add_square(packed, vector, 0.5)
    np.testing.assert_allclose(unpack(packed, 7), np.tril(matrix + np.outer(vector, vector) / 2))
