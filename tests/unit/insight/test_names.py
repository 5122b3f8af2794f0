"""Names as people sort and read them."""

from __future__ import annotations

from verger.insight.names import natural


def test_names_sort_as_people_count() -> None:
    assert sorted(["b 10", "b 9", "a", "10", "9"], key=natural) == ["9", "10", "a", "b 9", "b 10"]
