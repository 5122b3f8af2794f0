"""Figures that the documentation gives in one place, for the tests that hold them."""

from __future__ import annotations

import re

from tests.conftest import ROOT

PAGE = ROOT / "docs" / "image.md"


def sizes() -> dict[str, float]:
    """The table of docs/image.md: the megabytes of each part, and ``in all``."""
    rows = re.findall(r"^\| \**([^|*]+?)\** \| \**([\d,]+)\** \|", PAGE.read_text(), re.MULTILINE)
    return {name.strip("`"): float(size.replace(",", "")) for name, size in rows}


def documented_size() -> float:
    """The size of the image in megabytes."""
    return sizes()["in all"]
