"""The audit as a whole: its table and its file."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from tests.insight import sample, unrelated_features
from verger.insight.audit.checks import KINDS, audit
from verger.insight.audit.issues import SCHEMA
from verger.storage.local import LocalStorage


def test_the_audit_is_saved_as_one_parquet_file(tmp_path: Path) -> None:
    found = audit(sample(unrelated_features(), ["a"] * 55 + ["b"] * 5), None, False)
    path = tmp_path / "audit" / "part-00000.zstd.parquet"
    found.save(str(path), LocalStorage())
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMA) and table.equals(found.table)
    assert set(found.summary()["counts"]) == set(KINDS)
