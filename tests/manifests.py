"""Records of runs that Verger 0.1.0 has made, and others like them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"


def recorded(name: str) -> dict[str, Any]:
    """A record that 0.1.0 has left, by the name of its file in tests/data."""
    document: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text())
    return document


def manifest_with(**changes: Any) -> dict[str, Any]:
    """A manifest of 0.1.0 in which some keys are others; an object among the changes changes single keys of one."""
    document = recorded("manifest-0.1.0")
    for key, value in changes.items():
        document[key] = document[key] | value if isinstance(value, dict) else value
    return document
