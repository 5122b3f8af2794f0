"""What tests of identify share: what was found of a photograph."""

from __future__ import annotations

from typing import Any

from verger.insight.identify.identification import Identification
from verger.tables.manifest_parts import NoneOfThese

NONE_OF_THESE = {
    "threshold": 0.4, "false_alarms": 0.05, "split": "grouped", "split_says": "groups kept together",
    "n_references": 90, "n_held_out": 90, "auroc": 0.7, "auroc_interval": [0.6, 0.8], "caught_at_5_percent": 0.25,
    "caught_interval": [0.1, 0.4], "weak": True, "n_known": 90, "n_unknown": 90, "n_classes": 9, "says": "measured",
}  # fmt: skip


def identification(**more: Any) -> Identification:
    given: dict[str, Any] = {
        "classes": [("Apple", 0.75), ("Pear", 0.25)],
        "nearest": [("/in/a/1.jpg", "a", 0.5), ("/in/2.jpg", None, 0.75)],
        "distance": 0.5,
        "none_of_these": NONE_OF_THESE,
        **more,
    }
    if given["none_of_these"] is not None:
        given["none_of_these"] = NoneOfThese.model_validate(given["none_of_these"])
    return Identification("/here/asked.jpg", "run-1", **given)
