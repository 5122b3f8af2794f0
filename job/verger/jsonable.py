"""Values in Verger's JSON files and log lines: no number is NaN, and times are ISO 8601 in UTC."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any


def finite(value: Any) -> Any:
    """Replace each number that is not finite by None, which JSON writes as null.

    Parameters
    ----------
    value : Any
        What `json` can write: dicts and lists of any depth, text, numbers, None.

    Returns
    -------
    Any
        The same value. Keys of dicts are text, and tuples are lists.
    """
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def dump(document: dict[str, Any]) -> bytes:
    """Write a JSON file: without NaN, and with keys in their present order.

    Parameters
    ----------
    document : dict
        What the file holds.

    Returns
    -------
    bytes
        UTF-8, indented, with a newline at the end.
    """
    return (json.dumps(finite(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def timestamp(when: datetime) -> str:
    """Write a time as ISO 8601 in UTC, with microseconds, so that the order of texts is the order of times.

    Parameters
    ----------
    when : datetime
        With a time zone.

    Returns
    -------
    str
        Such as ``2026-01-02T12:00:00.000000Z``.
    """
    return when.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
