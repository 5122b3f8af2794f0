"""The photographs that are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from verger.errors import NothingToReadError
from verger.insight.identify import photographs as photographs_asked
from verger.storage.base import EVERYTHING, Entry, WalkPolicy
from verger.storage.stores import Stores


class TestExpandFolders:
    def test_a_folder_becomes_its_photographs_and_an_empty_one_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "in" / "deep").mkdir(parents=True)
        (tmp_path / "none").mkdir()
        for name in ("in/b.jpg", "in/deep/a.png", "in/notes.txt"):
            (tmp_path / name).write_bytes(b"x")
        asked = [str(tmp_path / name) for name in ("none", "in", "odd-name")]
        found = list(photographs_asked.expand_folders(asked, Stores()))
        assert [Path(path).name for path, _ in found] == ["none", "b.jpg", "a.png", "odd-name"]
        assert isinstance(found[0][1], NothingToReadError)
        assert [error for _, error in found[1:]] == [None] * 3

    def test_in_a_bucket_an_object_needs_no_suffix(self, monkeypatch: pytest.MonkeyPatch) -> None:
        objects = ["s3://lake/asked", "s3://lake/in/a.jpg", "s3://lake/in/b", "s3://lake/upload.1"]

        class Bucket:
            def list(self, folder: str, policy: WalkPolicy = EVERYTHING) -> Iterator[Entry]:
                below = [Entry(path, 1, "1-1") for path in objects if path.startswith(f"{folder}/")]
                if not below:
                    raise NothingToReadError(f"{folder} does not exist or is empty")
                yield from below

            def exists(self, path: str) -> bool:
                return any(name == path or name.startswith(f"{path}/") for name in objects)

        stores = Stores()
        monkeypatch.setattr(stores, "of", lambda _: Bucket())
        asked = [f"s3://lake/{name}" for name in ("asked", "in", "in/b", "none", "gone.jpg", "upload.1")] + [
            "s3://lake"
        ]
        found = list(photographs_asked.expand_folders(asked, stores))
        assert [path for path, _ in found] == [
            "s3://lake/asked", "s3://lake/in/a.jpg", "s3://lake/in/b", "s3://lake/none", "s3://lake/gone.jpg",
            "s3://lake/upload.1", "s3://lake/in/a.jpg",
        ]  # fmt: skip
        assert [error is None for _, error in found] == [True, True, True, False, True, True, True]


def test_a_photograph_is_decoded_with_the_settings_of_the_run(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20), "red").save(tmp_path / "wide.png")

    class Padded:
        input_size, resample, fit, decode = 32, "bilinear", "pad", "full"

    network: Any = Padded
    _, decoded = photographs_asked.read_photograph((str(tmp_path / "wide.png"), None), network, Stores())
    assert not isinstance(decoded, Exception)
    assert decoded.rgb[0, 0].tolist() == [255, 255, 255] and decoded.rgb[16, 16].tolist() == [255, 0, 0]
