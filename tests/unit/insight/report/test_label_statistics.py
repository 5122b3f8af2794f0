"""Statistics by label."""

from __future__ import annotations

import numpy as np

from verger.insight.report import label_statistics


def test_statistics_by_label() -> None:
    points = np.array([[0, 0], [2, 0], [10, 0], [10, 0], [30, 0]], np.float32)
    a, b, c = label_statistics.statistics_by_label(np.array(["a", "a", "b", "b", "c"]), points)
    assert (a.name, a.count, a.spread, a.nearest, a.distance, a.distance_in_spreads) == ("a", 2, 1.0, "b", 9.0, 9.0)
    assert (b.spread, b.distance_in_spreads, b.nearest) == (0.0, None, "a")
    assert (c.count, c.nearest, c.distances.tolist()) == (1, "b", [0.0])
    (alone,) = label_statistics.statistics_by_label(np.array(["a", "a"]), points[:2])
    assert (alone.nearest, alone.distance, alone.distance_in_spreads) == (None, None, None)


def test_photographs_are_ordered_by_distance() -> None:
    points = np.array([[0.0], [0.1], [9.0], [-0.1]], np.float32)
    (label,) = label_statistics.statistics_by_label(np.array(["a"] * 4), points)
    assert label.photographs[-1] == 2


def test_a_balanced_sample_takes_from_every_label_in_turn() -> None:
    names = np.array(["many"] * 100 + ["few"] * 3)
    chosen = names[label_statistics.balanced_sample(names, 10)]
    assert sorted(set(chosen)) == ["few", "many"]
    assert (chosen == "few").sum() == 3
    assert len(np.unique(label_statistics.balanced_sample(names, 1000))) == 103
    assert np.array_equal(label_statistics.balanced_sample(names, 10), label_statistics.balanced_sample(names, 10))
