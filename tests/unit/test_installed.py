"""network/installed: what is said where TensorFlow is not the one that is needed."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from verger.errors import ExitCode, UsageError
from verger.network import installed, lite
from verger.spark.failures import explain

ADVICE = f"Install verger with its requirements: tensorflow-cpu=={installed.NEEDED}."


def found(monkeypatch: pytest.MonkeyPatch, version: str | None) -> None:
    def answer(package: str) -> str:
        if version is None or package == "tensorflow-cpu":
            raise PackageNotFoundError(package)
        return version

    monkeypatch.setattr(installed, "version", answer)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (None, "none is installed"),
        ("2.12.0", "2.12.0 is installed"),
        (installed.NEEDED, f"{installed.NEEDED} is installed but does not load"),
    ],
)
def test_the_line_names_both(monkeypatch: pytest.MonkeyPatch, version: str | None, said: str) -> None:
    found(monkeypatch, version)
    with pytest.raises(UsageError) as error, installed.needed():
        raise ImportError("cannot import name 'x'")
    line = f"TensorFlow {installed.NEEDED} is needed, and {said} (ImportError: cannot import name 'x'). {ADVICE}"
    assert error.value.line == line
    assert error.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize("module", ["operations", "lite_metadata"])
def test_it_is_said_where_the_modules_are_imported(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    for name in ("tensorflow", "tensorflow.core.protobuf.config_pb2", "flatbuffers"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails
    monkeypatch.delitem(sys.modules, f"verger.network.{module}", raising=False)
    with pytest.raises(UsageError, match=f"TensorFlow {installed.NEEDED} is needed"):
        importlib.import_module(f"verger.network.{module}")


@pytest.mark.parametrize("present", [None, object()], ids=["absent", "without lite"])
def test_and_where_it_is_imported_late(monkeypatch: pytest.MonkeyPatch, present: Any) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", present)
    with pytest.raises(UsageError, match=f"TensorFlow {installed.NEEDED} is needed"):
        lite.Lite(b"")


def test_a_python_worker_says_it_to_the_driver() -> None:
    with pytest.raises(UsageError) as error, installed.needed():
        raise ImportError("no")
    told = explain(Exception(f"Traceback\n  File ...\nverger.errors.UsageError: {error.value}\n\n\tat"))
    assert told is not None and (told.exit_code, told.line) == (ExitCode.USAGE, error.value.line)


def test_the_version_is_the_one_that_is_required() -> None:
    required = Path(__file__).parents[2] / "requirements" / "run.in"
    assert f"tensorflow-cpu=={installed.NEEDED}" in required.read_text().splitlines()
