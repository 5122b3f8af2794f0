"""Which photographs have a picture on the page."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.bad_files import encoded
from tests.unit.photographs.test_images import photograph
from verger.insight.report import thumbnails
from verger.insight.report.thumbnails import ThumbnailCounts
from verger.storage.stores import Stores


def saved(path: Path, data: bytes) -> tuple[str, str]:
    path.write_bytes(data)
    status = os.stat(path)
    return str(path), f"{status.st_mtime_ns}-{status.st_size}"


def test_large_photographs_are_left_out_and_missing_ones_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnails, "MAX_PIXELS", 130_000)
    monkeypatch.setattr(thumbnails, "MAX_FILE_BYTES", 100_000)
    small = saved(tmp_path / "small.png", encoded(photograph(60, 40), "PNG"))
    large = saved(tmp_path / "large.png", encoded(photograph(500, 400), "PNG"))
    draft = saved(tmp_path / "draft.jpg", encoded(photograph(1600, 1200), "JPEG", quality=40))
    heavy = saved(tmp_path / "heavy.bmp", encoded(photograph(240, 200), "BMP"))
    broken = saved(tmp_path / "broken.png", b"\x89PNG and no more")
    changed = (small[0], "1-1")
    gone = (str(tmp_path / "gone.png"), "1-1")
    counts = ThumbnailCounts()
    found = thumbnails.read_thumbnails(Stores(), [large, small, draft, heavy, broken, gone], counts=counts)
    assert set(found) == {small[0], draft[0]}
    assert counts == ThumbnailCounts(wanted=6, read=2, left_out=2)
    thumbnails.read_thumbnails(Stores(), [changed], counts=(counts := ThumbnailCounts()))
    assert counts == ThumbnailCounts(wanted=1)


def test_photographs_beyond_the_time_or_size_limit_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_of = [saved(tmp_path / f"{number}.png", encoded(photograph(), "PNG")) for number in range(3)]
    assert thumbnails.read_thumbnails(Stores(), all_of, seconds=-1, counts=(counts := ThumbnailCounts())) == {}
    assert counts == ThumbnailCounts(wanted=3, left_out=3)
    one = len(next(iter(thumbnails.read_thumbnails(Stores(), all_of).values())))
    monkeypatch.setattr(thumbnails, "MAX_BYTES", 2 * one)
    assert list(thumbnails.read_thumbnails(Stores(), all_of, counts=(counts := ThumbnailCounts()))) == [
        path for path, _ in all_of[:2]
    ]
    assert counts == ThumbnailCounts(wanted=3, read=2, left_out=1)
