"""spark/variables and spark/machine: what of the machine's environment reaches an embedded Spark."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from verger.errors import UsageError
from verger.spark import machine, submitted, variables
from verger.spark.variables import TABLE, Decision

pytestmark = pytest.mark.required_in_ci

SPARK = ("SPARK_HOME", "SPARK_CONF_DIR", "SPARK_REMOTE", "PYSPARK_SUBMIT_ARGS", "HADOOP_CONF_DIR", "JAVA_TOOL_OPTIONS")


def test_variables_of_another_spark_are_hidden_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SPARK:
        monkeypatch.setenv(name, "theirs")
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    before = dict(os.environ)
    with variables.replaced(variables.without_spark(os.environ) | {"SPARK_HOME": "ours"}):
        assert os.environ["SPARK_HOME"] == "ours"
        assert not set(SPARK[1:]) & os.environ.keys()
        assert os.environ["AWS_REGION"] == "eu-west-3"
    assert dict(os.environ) == before


def test_the_folders_of_a_spark_leave_the_module_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution, installed = tmp_path / "spark" / "python", tmp_path / "installed"
    (distribution / "pyspark").mkdir(parents=True)
    (installed / "pyspark").mkdir(parents=True)
    (installed / "pyspark-4.3.0.dist-info").mkdir()
    entries = [str(distribution), str(distribution / "lib" / "py4j-0.10.9.7-src.zip"), str(installed), "/ours"]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(entries))
    monkeypatch.setattr(sys, "path", ["", *entries, "/usr/lib/python3"])
    variables.forget_other_pyspark()
    assert sys.path == ["", str(installed), "/ours", "/usr/lib/python3"]
    assert variables.without_spark(os.environ)["PYTHONPATH"] == f"{installed}{os.pathsep}/ours"


def test_under_spark_submit_the_module_path_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    monkeypatch.setenv("PYTHONPATH", "/spark/py4j-1-src.zip")
    monkeypatch.setattr(sys, "path", ["/spark/py4j-1-src.zip"])
    variables.forget_other_pyspark()
    assert sys.path == ["/spark/py4j-1-src.zip"]


def test_the_documentation_has_the_same_table() -> None:
    page = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \| (ignored|honoured)\b", page, re.MULTILINE)
    documented = {name: decision for names, decision in rows for name in re.findall("`([^`]+)`", names)}
    assert documented == {pattern: entry.decision.value for entry in TABLE for pattern in entry.patterns}


def test_a_name_has_the_decision_of_the_first_entry() -> None:
    environment = {
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
        "ONEDNN_VERBOSE": "1",
        "PATH": "/",
    }
    assert variables.found(environment, Decision.IGNORED) == ["ONEDNN_DEFAULT_FPMATH_MODE=BF16"]
    assert variables.found(environment, Decision.HONOURED) == ["ONEDNN_VERBOSE=1", "TF_ENABLE_ONEDNN_OPTS=0"]


def test_the_version_of_spark_is_the_pinned_one() -> None:
    assert f"pyspark=={submitted.SPARK_VERSION}." in (ROOT / "requirements" / "run.in").read_text()


def test_another_pyspark_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyspark.__version__", "3.5.1")
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    with pytest.raises(UsageError, match=r"needs Spark 4\.3, and .* has 3\.5\.1 \(PYTHONPATH is /theirs\)\. Unset"):
        submitted.require_version()


def test_java_options_survive_quotes_in_the_folder() -> None:
    assert '-Djava.io.tmpdir="/a \\"b\\\\c"' in machine.java_options(Path('/a "b\\c'))


def test_java_that_has_the_library_unpacked_needs_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the image's Java, where /tmp may be mounted noexec. With a stand-in for Java and for the mount."""
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho '    ZstdNativePath = /opt/lib.so' >&2\n")
    java.chmod(0o755)
    monkeypatch.setattr(os, "ST_NOEXEC", -1)  # of every flag
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert machine.executable_folder(None) == str(tmp_path)
    java.write_text("#!/bin/sh\necho 17 >&2\n")
    with pytest.raises(UsageError, match="mounted noexec"):
        machine.executable_folder(None)
