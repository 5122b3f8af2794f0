"""What the charts are drawn from."""

from __future__ import annotations

import pytest

from verger.insight.report import svg_charts


@pytest.mark.parametrize("highest", [1e-6, 0.0031, 0.04, 0.157, 0.8, 1.0])
def test_an_axis_holds_what_it_shows_and_its_steps_differ(highest: float) -> None:
    chart = svg_charts.scree([highest] + [highest / 10] * 30, 3)
    texts = [step["text"] for step in chart["steps"]]
    assert len(texts) == len(set(texts))
    assert 2 < len(texts) < 8
    assert all(bar["y"] >= chart["top"] - 0.1 for bar in chart["bars"])
