"""Classes of labels, and groups of paths."""

from __future__ import annotations

import pytest

from verger.insight.task import classes_of, groups_of


class TestClasses:
    @pytest.mark.parametrize(
        ("pattern", "classes"),
        [
            (None, ["Apple Braeburn 1", "Pear", None, None]),
            (r"^\w+", ["Apple", "Pear", None, None]),
            (r"Apple", ["Apple", None, None, None]),
            (r"x*", [None, None, None, None]),
        ],
    )
    def test_a_class_is_what_the_pattern_matches(self, pattern: str | None, classes: list[str | None]) -> None:
        assert classes_of(["Apple Braeburn 1", "Pear", None, ""], pattern) == classes

    def test_paths_without_a_match_are_groups_of_their_own(self) -> None:
        paths = ["A/r0_1.jpg", "A/r0_2.jpg", "A/r1_1.jpg", "B/r0_1.jpg", "A/x.jpg", "A/y.jpg"]
        groups = groups_of(paths, r"^.*/r\d_")
        assert groups is not None
        assert groups[0] == groups[1]
        assert len(set(groups.tolist())) == 5
