"""What a photograph shows, as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.insight.identify.found import identification
from verger.errors import NothingToReadError, Reason, Rejection, StoreError
from verger.insight.identify import text
from verger.insight.identify.identification import Identification


class TestIdentification:
    def test_json_has_the_same_keys_whatever_was_found(self) -> None:
        found = [
            identification(),
            identification(classes=None, distance=None, none_of_these=None, notes=["There are no classes."]),
            Identification("/gone.jpg", "run-1", error=NothingToReadError("/gone.jpg does not exist")),
        ]
        told = [json.loads(json.dumps(one.as_dict())) for one in found]
        assert len({tuple(one) for one in told}) == 1
        assert told[0]["classes"][0] == {"class": "Apple", "probability": 0.75}
        assert told[0]["nearest"][1] == {"path": "/in/2.jpg", "label": None, "distance": 0.75}
        assert told[0]["none_of_these"] | {"verdict": True, "distance": 0.5, "weak": True} == told[0]["none_of_these"]
        assert told[1]["none_of_these"] is None and told[1]["classes"] is None

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (Rejection(Reason.TRUNCATED, "JPEG: it ends"), "truncated"),
            (NothingToReadError("/gone.jpg does not exist"), "missing"),
            (StoreError("s3://a/b: access denied"), "unreadable"),
        ],
    )
    def test_an_unreadable_photograph_has_one_line_and_a_reason(self, error: Any, reason: str) -> None:
        found = Identification("/bad.jpg", "run-1", error=error)
        assert found.as_dict()["error"]["reason"] == reason
        name, line, blank = text.lines(found, None)
        assert (name.plain, blank.plain) == ("/bad.jpg", "")
        assert line.plain.startswith("  cannot be identified: ") and "\n" not in line.plain

    def test_a_distance_equal_to_the_threshold_is_within_it(self) -> None:
        assert not identification(distance=0.4).is_none
        assert identification(distance=0.4001).is_none
