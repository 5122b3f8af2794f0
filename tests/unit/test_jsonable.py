"""jsonable: what our JSON files hold."""

from __future__ import annotations

import json

from verger.jsonable import dump


def test_json_has_no_nan() -> None:
    written = dump({"a": float("nan"), "b": [1.5, float("inf")], "c": {"d": "é"}})
    assert json.loads(written) == {"a": None, "b": [1.5, None], "c": {"d": "é"}}
