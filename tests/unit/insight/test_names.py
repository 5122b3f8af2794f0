"""Names as people sort and read them."""

from __future__ import annotations

from verger.insight.names import natural_key


def test_natural_order_sorts_numbers_by_value() -> None:
    assert sorted(["b 10", "b 9", "a", "10", "9"], key=natural_key) == ["9", "10", "a", "b 9", "b 10"]
