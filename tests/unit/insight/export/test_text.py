"""What an export tells a person and a script."""

from __future__ import annotations

import json
from typing import Any

import pytest

from verger.insight.export import text as export_text

RECORD: dict[str, Any] = {
    "run_id": "R",
    "folder": "/out/runs/R/model",
    "classes": ["a", "b"],
    "input": {"shape": [1, 96, 96, 3]},
    "latency_of": {"processor": "P"},
    "models": {
        "float32": {"path": "verger.tflite", "bytes": 9_000_000, "latency_ms": {"median": 7.26, "p90": 9.0}},
        "int8": {"path": "verger.int8.tflite", "bytes": 2_500_000, "latency_ms": {"median": 10.0, "p90": 12.0}},
    },
    "weak_because": None,
    "parity": {"photographs": 40, "measured_on": "photographs of the run", "largest_difference": 3e-6},
    "int8": {
        "same_class": 0.975,
        "held_out": {"says": "S", "photographs": 40, "accuracy_float32": 0.8, "accuracy_int8": 0.775},
    },
}


class TestLines:
    def test_size_latency_parity_and_accuracy_are_told(self) -> None:
        said = " ".join(export_text.lines(RECORD))
        for figure in ("9.0 MB", "2.5 MB", "7.3 ms", "10.0 ms", "(P, one thread)", "3e-06", "97.5%", "80.0%", "77.5%"):
            assert figure in said
        assert export_text.figures(RECORD)["accuracy_int8"] == 0.775

    @pytest.mark.parametrize(("number", "said"), [(1, "of 1 photograph are"), (19, "of 19 photographs are")])
    def test_of_too_few_photographs_no_accuracy_is_told(self, number: int, said: str) -> None:
        held = RECORD["int8"]["held_out"] | {"photographs": number}
        few = RECORD | {
            "parity": RECORD["parity"] | {"photographs": number},
            "int8": RECORD["int8"] | {"held_out": held},
        }
        *_, parity, accuracy = export_text.lines(few)
        assert said in parity
        assert "too few photographs" in accuracy and "%" not in accuracy
        assert export_text.figures(few)["accuracy"] is None

    def test_an_accuracy_that_was_not_measured_is_said_to_be(self) -> None:
        parity = RECORD["parity"] | {"photographs": 30, "measured_on": "drawn photographs"}
        held = dict.fromkeys(RECORD["int8"]["held_out"]) | {"photographs": 0}
        record = RECORD | {"parity": parity, "int8": RECORD["int8"] | {"held_out": held}}
        *_, said, accuracy = export_text.lines(record)
        assert "the probabilities of 30 drawn photographs are those of the run to 3e-06" in said
        assert accuracy == "Accuracy of unseen photographs: not measured, as no photograph of the run was at hand."
        assert json.loads(json.dumps(export_text.figures(record)))["accuracy"] is None

    def test_a_weak_accuracy_is_called_weak(self) -> None:
        because = "it rests on 66 held-out photographs, fewer than 100"
        *_, accuracy = export_text.lines(RECORD | {"weak_because": because})
        assert accuracy.endswith(f"(40 photographs; S). Weak evidence: {because}.")
