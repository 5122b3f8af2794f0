"""A run as insight sees it: whole where it is small, else by a stated sample of each label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from verger.config import RunConfig
from verger.errors import NothingToReadError, StoreError
from verger.insight import sample
from verger.insight.sample import stratified, take
from verger.storage.local import LocalStorage
from verger.tables.runs import Run
from verger.tables.schemas import FEATURES, PROJECTION
from verger.tables.store import FeatureStore

N, D, K = 60, 8, 3


def lists(rows: np.ndarray) -> pa.Array:
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.ravel(), pa.float32()))


class Place:
    """A store of three files, and the table of a run of its photographs, in no order."""

    def __init__(self, folder: Path) -> None:
        random = np.random.default_rng(0)
        self.features = random.normal(size=(N, D)).astype(np.float32)
        self.components = random.normal(size=(N, K)).astype(np.float32)
        self.paths = [f"/in/{number:03d}.png" for number in range(N)]
        self.labels = ["rare" if number % 20 == 0 else "common" for number in range(N)]
        self.config = RunConfig(input="/in", output=str(folder))
        self.store = FeatureStore(LocalStorage(), str(folder), "fingerprint")
        self.run = Run(str(folder), "20260102T120000Z-verger-abcdef", LocalStorage())
        for number in range(3):
            self.write(f"wave-{number}", range(number, N, 3))
        # Two runs at once may have computed the same photographs.
        self.write("again", range(5))
        order = random.permutation(N)
        table = [self.columns(order)[name] for name in PROJECTION.names]
        where = Path(self.run.path("projection"))
        where.mkdir(parents=True)
        pq.write_table(pa.table(table, schema=PROJECTION), where / "part-0.parquet", row_group_size=7)

    def columns(self, rows: object) -> dict[str, pa.Array]:
        at = list(rows)  # type: ignore[call-overload]
        return {
            "path": pa.array([self.paths[row] for row in at], pa.string()),
            "label": pa.array([self.labels[row] for row in at], pa.string()),
            "split": pa.nulls(len(at), pa.string()),
            "version": pa.array(["1-1"] * len(at), pa.string()),
            "pca_features": lists(self.components[at]),
        }

    def write(self, folder: str, rows: object) -> None:
        at = list(rows)  # type: ignore[call-overload]
        columns = self.columns(at) | {
            "label": pa.array(["an older label"] * len(at), pa.string()),
            "sha256": pa.array([f"{row:064x}" for row in at], pa.string()),
            "size": pa.array([1] * len(at), pa.int64()),
            "width": pa.array([1] * len(at), pa.int32()),
            "height": pa.array([1] * len(at), pa.int32()),
            "features": lists(self.features[at]),
            "extracted_at": pa.array([0] * len(at), pa.timestamp("us", tz="UTC")),
        }
        path = Path(self.store.folder) / folder / "part-0.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table([columns[name] for name in FEATURES.names], schema=FEATURES), path)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "out")


def test_of_a_small_run_it_is_all(place: Place) -> None:
    taken = take(place.run, place.store, place.config, place.config.input)
    assert taken.named.equals(taken.photographs)
    assert taken.photographs["path"].to_pylist() == place.paths
    assert taken.photographs["label"].to_pylist() == place.labels  # today's
    assert taken.photographs["sha256"].to_pylist() == [f"{row:064x}" for row in range(N)]
    np.testing.assert_array_equal(taken.components, place.components)
    np.testing.assert_array_equal(taken.featured, np.arange(N))
    np.testing.assert_array_equal(taken.features, place.features)
    assert (taken.total, taken.stated) == (N, "all 60 photographs")
    assert taken.below()[0] == "000.png"


def test_of_a_large_run_it_is_a_stated_part_that_the_seed_draws(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "ROWS", 30)
    monkeypatch.setattr(sample, "FEATURED", 10)
    monkeypatch.setattr(sample, "FLOOR", 3)
    taken = take(place.run, place.store, place.config, place.config.input)
    assert taken.named["path"].to_pylist() == place.paths
    rows = [place.paths.index(path) for path in taken.photographs["path"].to_pylist()]
    assert len(rows) == 30 and rows == sorted(rows)
    np.testing.assert_array_equal(taken.components, place.components[rows])
    assert len(taken.featured) == 10
    np.testing.assert_array_equal(taken.features, place.features[rows][taken.featured])
    assert taken.photographs["label"].to_pylist().count("rare") == 3  # all there are
    assert taken.stated == "components of 30 of 60 photographs, features of 10 of them, drawn by label with seed 0"
    again = take(place.run, place.store, place.config, place.config.input)
    np.testing.assert_array_equal(again.features, taken.features)
    other = take(place.run, place.store, place.config.model_copy(update={"seed": 1}), place.config.input)
    assert other.photographs["path"].to_pylist() != taken.photographs["path"].to_pylist()


def test_a_small_part_comes_from_few_files(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "FEATURED", 8)
    taken = take(place.run, place.store, place.config, place.config.input)
    known = dict(zip(*(place.store.known()[name].to_pylist() for name in ("path", "file")), strict=True))
    paths = taken.photographs["path"].take(pa.array(taken.featured)).to_pylist()
    assert len({known[path] for path in paths}) < len(set(known.values()))


def test_memory_bounds_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    # Leaves 5 rows of features and of the audit's copy of them, 26 of components.
    monkeypatch.setattr(sample, "_SHARE", (2 << 30) // (2 * 5 * 4 * D))
    taken = take(place.run, place.store, place.config, place.config.input)
    assert (len(taken.photographs), len(taken.featured)) == (26, 5)


def test_features_that_are_gone_are_said(place: Place) -> None:
    place.store.known()
    for number in range(3):
        (Path(place.store.folder) / f"wave-{number}" / "part-0.parquet").unlink()
    with pytest.raises(NothingToReadError, match="55 photographs of the run are not in"):
        take(place.run, place.store, place.config, place.config.input)


def test_a_table_that_is_gone_or_damaged_is_said_to_be(place: Place) -> None:
    table = Path(place.run.path("projection")) / "part-0.parquet"
    table.write_bytes(table.read_bytes()[:100])
    with pytest.raises(StoreError, match="projection is damaged"):
        take(place.run, place.store, place.config, place.config.input)
    table.unlink()
    with pytest.raises(NothingToReadError, match="projection, is gone"):
        take(place.run, place.store, place.config, place.config.input)


class TestStratified:
    def test_each_stratum_gives_its_floor_and_then_its_share(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sample, "FLOOR", 5)
        strata = np.repeat([0, 1, 2], [1000, 100, 4])
        rows = stratified(strata, 119, np.random.default_rng(0).random(len(strata)))
        assert list(np.diff(rows) > 0) == [True] * 118
        counts = np.bincount(strata[rows])
        assert counts[2] == 4
        assert counts[0] / 1000 == pytest.approx(counts[1] / 100, rel=0.5)
        assert counts.sum() == 119

    def test_few_rows_for_many_strata_are_spread(self) -> None:
        strata = np.repeat(np.arange(10), 100)
        rows = stratified(strata, 30, np.random.default_rng(0).random(1000))
        assert len(rows) == 30 and np.bincount(strata[rows], minlength=10).max() <= 10

    def test_no_stratum_is_forgotten_for_another(self) -> None:
        strata = np.repeat(np.arange(30), 100)
        ranks = np.random.default_rng(0).random(3000)
        assert set(np.bincount(strata[stratified(strata, 40, ranks)], minlength=30)) > {0}
        assert set(np.bincount(strata[stratified(strata, 40, ranks, first=2)])) == {1, 2}
        assert set(np.bincount(strata[stratified(strata, 60, ranks, first=2)])) == {2}

    def test_all_of_a_few(self) -> None:
        assert list(stratified(np.array([0, 0, 1]), 3, np.zeros(3))) == [0, 1, 2]
