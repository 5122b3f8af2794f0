"""pipeline/quarantine: which runs are refused, and which refusals a run ends."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from verger.config import RunConfig
from verger.errors import TooManyRejectedError
from verger.photographs.inventory import SCHEMA
from verger.pipeline import quarantine
from verger.pipeline.values import Compared, Extracted, Job, Listed
from verger.spool import Spool, spool
from verger.storage.local import LocalStorage
from verger.tables.changes import Changes, Input, find_changes
from verger.tables.rejections import read_refused
from verger.tables.rows import KEY
from verger.tables.runs import Run
from verger.tables.schemas import REJECTED
from verger.tables.store import FeatureStore

FINGERPRINT = "pixels-20-f32-000000000000"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny batches, so that streams are cut everywhere."""
    monkeypatch.setattr("verger.spool.MAX_BATCH_ROWS", 7)
    monkeypatch.setattr("verger.sorting._RUN_ROWS", 11)


def listed(paths: set[str]) -> Spool:
    rows = [{"path": path, "label": "a", "split": None, "version": "1", "size": 9} for path in sorted(paths)]
    return spool(SCHEMA, [pa.Table.from_pylist(rows, SCHEMA)])


def rejections(paths: set[str]) -> pa.Table:
    rows = [{"path": path, "version": "1", "reason": "empty", "message": "0 bytes"} for path in sorted(paths)]
    return pa.Table.from_pylist(rows, REJECTED)


class Place:
    """An output, and photographs that are compared with what it has."""

    def __init__(self, folder: Path, decoders: str = "1") -> None:
        self.store = FeatureStore(LocalStorage(), str(folder), FINGERPRINT, pytest.fail, decoders)
        run = Run(str(folder), "20260101T000000Z-verger-000000", LocalStorage())
        config = RunConfig(input="/in", output=str(folder), max_rejected_ratio=0.25)
        self.job = cast(Job, SimpleNamespace(run=run, config=config))

    def compared(self, photographs: set[str], chosen: set[str] | None = None, unseen: tuple[str, ...] = ()) -> Compared:
        everything = listed(photographs)
        found = Input("/in", everything, everything if chosen is None else listed(chosen), unseen)
        changes: Changes = find_changes(self.store, found, None)
        return Compared(Listed(found, {}, {}), cast(Any, None), self.store, changes)


@pytest.mark.parametrize("seed", range(30))
def test_a_refusal_is_forgotten_by_a_run_with_all_its_photographs_that_are_left(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    names = [f"/in/{folder}/{name}" for folder in ("a", "é🍑", "locked") for name in range(12)]
    present = set(draw.sample(names, draw.randint(0, len(names))))
    chosen = present if draw.random() < 0.3 else {name for name in present if draw.random() < 0.8}
    unseen = ("/in/locked",) if draw.random() < 0.5 else ()
    place, left = Place(tmp_path), list[str]()
    for number in range(draw.randint(0, 4)):
        paths = sorted(draw.sample([*names, "/elsewhere/x"], draw.randint(1, 6)))
        place.store.remember_refused(f"run-{number}", [pa.table({"path": paths, "version": ["1"] * len(paths)})])
        known_gone = {p for p in paths if p.startswith("/in/") and p not in present and not p.startswith(unseen or "?")}
        if set(paths) - known_gone - chosen:
            left.append(f"run-{number}.zstd.parquet")
    quarantine.forget_refusals(place.job, place.compared(present, chosen, unseen))
    assert sorted(path.name for path in Path(place.store.refused_folder).glob("*")) == left


@pytest.mark.parametrize("seed", range(40))
def test_new_rejections_are_those_that_no_run_has_passed_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Of photographs that a run has passed with, rejections count among all photographs only."""
    monkeypatch.setattr(quarantine, "_MIN_NEW", 1)
    draw = random.Random(seed)
    names = [f"/in/{number:02}" for number in range(60)]

    def some(share: float) -> set[str]:
        return {name for name in names if draw.random() < share}

    place, other = Place(tmp_path), Place(tmp_path, "2")
    held, tried, refused = some(0.1), some(0.2), some(0.2)
    place.store.remember_rejected("run-a", "0", rejections(held))
    other.store.remember_rejected("run-b", "0", rejections(tried))
    place.store.remember_refused("run-b", [rejections(refused).select(KEY)])
    compared = place.compared(set(names))
    pending = set(names) - held
    bad = {name for name in pending if draw.random() < 0.15}
    rejected = spool(REJECTED, [rejections(held | bad)])
    extracted = Extracted(compared, len(pending - bad), rejected)
    new = (pending - tried) | refused
    new_bad = (bad - tried) | ((bad | held) & refused)
    assert (compared.changes.new, compared.changes.new_rejected) == (len(new), len(held & refused))
    assert quarantine._count_new(extracted) == len(new_bad)
    refuses = len(held | bad) / len(names) > 0.25 or len(new_bad) / len(new) > 0.25
    if refuses:
        with pytest.raises(TooManyRejectedError):
            quarantine.check_reject_ratio(place.job, extracted)
    else:
        quarantine.check_reject_ratio(place.job, extracted)
    (quarantined,) = Path(place.job.run.path("rejected")).glob("*.parquet")
    assert pq.read_table(quarantined).equals(rejected.to_table())
    remembered = set(read_refused(place.store).to_table()["path"].to_pylist())
    assert remembered == refused | (pending & new if refuses else set())
