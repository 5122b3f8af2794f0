"""The message for users whose TensorFlow is missing or of another version."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from verger.errors import ExitCode, UsageError
from verger.network import lite, tensorflow_version
from verger.network.tensorflow_version import REQUIRED, explain_import_errors
from verger.spark.failures import explain

ADVICE = f"Install verger with its requirements: tensorflow-cpu=={REQUIRED}."


def found(monkeypatch: pytest.MonkeyPatch, version: str | None) -> None:
    def answer(package: str) -> str:
        if version is None or package == "tensorflow-cpu":
            raise PackageNotFoundError(package)
        return version

    monkeypatch.setattr(tensorflow_version, "version", answer)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (None, "none is installed"),
        ("2.12.0", "2.12.0 is installed"),
        (REQUIRED, f"{REQUIRED} is installed but does not load"),
    ],
)
def test_message_names_required_and_installed_version(
    monkeypatch: pytest.MonkeyPatch, version: str | None, said: str
) -> None:
    found(monkeypatch, version)
    with pytest.raises(UsageError) as error, explain_import_errors():
        raise ImportError("cannot import name 'x'")
    line = f"TensorFlow {REQUIRED} is needed, and {said} (ImportError: cannot import name 'x'). {ADVICE}"
    assert error.value.line == line
    assert error.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize("module", ["operations", "lite_metadata"])
def test_message_when_a_module_is_imported(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    for name in ("tensorflow", "tensorflow.core.protobuf.config_pb2", "flatbuffers"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails
    monkeypatch.delitem(sys.modules, f"verger.network.{module}", raising=False)
    with pytest.raises(UsageError, match=f"TensorFlow {REQUIRED} is needed"):
        importlib.import_module(f"verger.network.{module}")


@pytest.mark.parametrize("present", [None, object()], ids=["absent", "without lite"])
def test_message_when_tensorflow_is_imported_later(monkeypatch: pytest.MonkeyPatch, present: Any) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", present)
    with pytest.raises(UsageError, match=f"TensorFlow {REQUIRED} is needed"):
        lite.Lite(b"")


def test_message_of_a_python_worker_reaches_the_user() -> None:
    with pytest.raises(UsageError) as error, explain_import_errors():
        raise ImportError("no")
    told = explain(Exception(f"Traceback\n  File ...\nverger.errors.UsageError: {error.value}\n\n\tat"))
    assert told is not None and (told.exit_code, told.line) == (ExitCode.USAGE, error.value.line)


def test_version_is_the_one_in_the_requirements() -> None:
    required = Path(__file__).parents[3] / "requirements" / "run.in"
    assert f"tensorflow-cpu=={REQUIRED}" in required.read_text().splitlines()


def test_variables_by_which_float32_would_be_computed_in_bfloat16_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE", "TF_SET_ONEDNN_FPMATH_MODE")
    for name in names:
        monkeypatch.setenv(name, "BF16")
    with explain_import_errors():
        assert not {*names} & os.environ.keys()
