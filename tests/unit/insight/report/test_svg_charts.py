"""Geometry of the page's charts."""

from __future__ import annotations

import pytest

from verger.insight.report import svg_charts


@pytest.mark.parametrize("highest", [1e-6, 0.0031, 0.04, 0.157, 0.8, 1.0])
def test_an_axis_holds_its_values_and_its_labels_differ(highest: float) -> None:
    chart = svg_charts.scree([highest] + [highest / 10] * 30, 3)
    texts = [step["text"] for step in chart["steps"]]
    assert len(texts) == len(set(texts))
    assert 2 < len(texts) < 8
    assert all(bar["y"] >= chart["top"] - 0.1 for bar in chart["bars"])


def test_points_of_the_cumulative_variance_are_above_their_ticks() -> None:
    chart = svg_charts.scree([0.5, 0.3, 0.1, 0.05, 0.05], 2)
    at = [float(point.split(",")[0]) for point in chart["line"].split()]
    ticks = {tick["text"]: tick["x"] for tick in chart["ticks"]}
    assert len(at) == 5
    assert len(ticks) > 1
    assert all(at[number - 1] == pytest.approx(x, abs=0.1) for number, x in ticks.items())
    assert chart["marker"] == ticks[2]
    middle = [bar["x"] + bar["w"] / 2 for bar in chart["bars"]]
    assert middle == [pytest.approx(x, abs=0.2) for x in at]


def test_the_reliability_diagram_says_that_the_temperature_was_set_on_its_photographs() -> None:
    rows = [{"confidence": 0.5, "accuracy": 0.5, "photographs": 9}]
    given = {"bins_calibrated": rows, "n": 9, "temperature": 1.1, "ece_calibrated": 0.02, "ece": 0.05}
    assert "set on these photographs" in svg_charts.reliability(given)["says"]
