"""What all tests share: the real photographs, where there are some, the jars of S3A, and a browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import CHROMIUM, Browser
from verger.spark import s3a

ROOT = Path(__file__).parents[1]

pytest_plugins = ["tests.required_in_ci"]


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real photographs and weights; it is no part of the project."""
    folder = os.environ.get("VERGER_TEST_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("no real photographs: set VERGER_TEST_DATA to their folder")
    return Path(folder)


@pytest.fixture(scope="session")
def jars() -> Path:
    """The folder of the jars with which Spark writes its event log to S3. Nothing else needs them."""
    folder = s3a.jars_folder()
    if folder is None:
        pytest.skip("no jars for S3: `make jars` fetches them, with Maven (Debian: apt-get install maven)")
    return folder


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A tab of a browser that shows what a user would see."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH (Debian: apt-get install chromium)")
    with Browser(tmp_path / "profile") as opened:
        yield opened
