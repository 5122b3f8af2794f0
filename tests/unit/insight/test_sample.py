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
from verger.insight.sample import draw_sample, stratified
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


def test_a_small_run_is_taken_whole(place: Place) -> None:
    taken = draw_sample(place.run, place.store, place.config, place.config.input)
    assert taken.catalogue.equals(taken.photographs)
    assert taken.photographs["path"].to_pylist() == place.paths
    assert taken.photographs["label"].to_pylist() == place.labels  # today's
    assert taken.photographs["sha256"].to_pylist() == [f"{row:064x}" for row in range(N)]
    np.testing.assert_array_equal(taken.components, place.components)
    np.testing.assert_array_equal(taken.feature_rows, np.arange(N))
    np.testing.assert_array_equal(taken.features, place.features)
    assert (taken.total, taken.description) == (N, "all 60 photographs")
    assert taken.relative_paths(taken.photographs)[0] == "000.png"


def test_a_large_run_is_sampled_by_seed_and_described(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "MAX_PHOTOGRAPHS", 30)
    monkeypatch.setattr(sample, "MAX_WITH_FEATURES", 10)
    monkeypatch.setattr(sample, "MIN_PER_STRATUM", 3)
    taken = draw_sample(place.run, place.store, place.config, place.config.input)
    assert taken.catalogue["path"].to_pylist() == place.paths
    rows = [place.paths.index(path) for path in taken.photographs["path"].to_pylist()]
    assert len(rows) == 30 and rows == sorted(rows)
    np.testing.assert_array_equal(taken.components, place.components[rows])
    assert len(taken.feature_rows) == 10
    np.testing.assert_array_equal(taken.features, place.features[rows][taken.feature_rows])
    assert taken.photographs["label"].to_pylist().count("rare") == 3  # all there are
    assert taken.description == "components of 30 of 60 photographs, features of 10 of them, drawn by label with seed 0"
    again = draw_sample(place.run, place.store, place.config, place.config.input)
    np.testing.assert_array_equal(again.features, taken.features)
    other = draw_sample(place.run, place.store, place.config.model_copy(update={"seed": 1}), place.config.input)
    assert other.photographs["path"].to_pylist() != taken.photographs["path"].to_pylist()


def test_a_small_sample_comes_from_few_files(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "MAX_WITH_FEATURES", 8)
    taken = draw_sample(place.run, place.store, place.config, place.config.input)
    known = dict(zip(*(place.store.known()[name].to_pylist() for name in ("path", "file")), strict=True))
    paths = taken.photographs["path"].take(pa.array(taken.feature_rows)).to_pylist()
    assert len({known[path] for path in paths}) < len(set(known.values()))


def test_the_drivers_memory_bounds_the_sample(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    # Leaves 5 rows of features and of the audit's copy of them, 26 of components.
    monkeypatch.setattr(sample, "_MEMORY_SHARE", (2 << 30) // (2 * 5 * 4 * D))
    taken = draw_sample(place.run, place.store, place.config, place.config.input)
    assert (len(taken.photographs), len(taken.feature_rows)) == (26, 5)


def test_missing_features_raise(place: Place) -> None:
    place.store.known()
    for number in range(3):
        (Path(place.store.folder) / f"wave-{number}" / "part-0.parquet").unlink()
    with pytest.raises(NothingToReadError, match="55 photographs of the run are not in"):
        draw_sample(place.run, place.store, place.config, place.config.input)


def test_a_missing_or_damaged_table_raises(place: Place) -> None:
    table = Path(place.run.path("projection")) / "part-0.parquet"
    table.write_bytes(table.read_bytes()[:100])
    with pytest.raises(StoreError, match="projection is damaged"):
        draw_sample(place.run, place.store, place.config, place.config.input)
    table.unlink()
    with pytest.raises(NothingToReadError, match="projection, is gone"):
        draw_sample(place.run, place.store, place.config, place.config.input)


class TestStratified:
    def test_each_stratum_gives_its_minimum_and_then_a_share(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sample, "MIN_PER_STRATUM", 5)
        strata = np.repeat([0, 1, 2], [1000, 100, 4])
        rows = stratified(strata, 119, np.random.default_rng(0).random(len(strata)))
        assert list(np.diff(rows) > 0) == [True] * 118
        counts = np.bincount(strata[rows])
        assert counts[2] == 4
        assert counts[0] / 1000 == pytest.approx(counts[1] / 100, rel=0.5)
        assert counts.sum() == 119

    def test_few_rows_are_spread_over_many_strata(self) -> None:
        strata = np.repeat(np.arange(10), 100)
        rows = stratified(strata, 30, np.random.default_rng(0).random(1000))
        assert len(rows) == 30 and np.bincount(strata[rows], minlength=10).max() <= 10

    def test_guaranteed_rows_come_from_every_stratum(self) -> None:
        strata = np.repeat(np.arange(30), 100)
        ranks = np.random.default_rng(0).random(3000)
        assert set(np.bincount(strata[stratified(strata, 40, ranks)], minlength=30)) > {0}
        assert set(np.bincount(strata[stratified(strata, 40, ranks, guaranteed=2)])) == {1, 2}
        assert set(np.bincount(strata[stratified(strata, 60, ranks, guaranteed=2)])) == {2}

    def test_all_rows_are_taken_where_there_are_no_more(self) -> None:
        assert list(stratified(np.array([0, 0, 1]), 3, np.zeros(3))) == [0, 1, 2]
