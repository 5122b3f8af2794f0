"""The image's size: one place in the documentation, whose parts add up to it."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT
from tests.documented import documented_size, sizes


def test_the_parts_of_the_image_add_up_to_its_size() -> None:
    parts = {name: size for name, size in sizes().items() if name != "in all"}
    assert {"Debian", "/opt/java", "/opt/verger"} <= set(parts)
    assert sum(parts.values()) == pytest.approx(documented_size(), abs=2)


def test_no_other_page_gives_the_size() -> None:
    size = f"{documented_size():,.0f}"
    pages = {ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("charts/verger/*.md")}
    pages.remove(ROOT / "docs" / "performance.md")  # a run's memory may be as many megabytes
    naming = {
        page.name for page in pages if size in page.read_text() or size.replace(",", "") + " MB" in page.read_text()
    }
    assert naming == {"image.md"}
    assert (ROOT / "docs" / "image.md").read_text().count(size) == 1
