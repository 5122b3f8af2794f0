"""A precision that the machines that compute do not have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.runs import photographs, verger

pytestmark = pytest.mark.slow  # a whole run with TensorFlow, for what two unit tests know of as well


def test_a_run_and_its_export_warn_once_that_bfloat16_is_emulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file stands for the /proc/cpuinfo of a CPU without bf16, so that the test says the same on every CPU."""
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")  # as TensorFlow decides on such a CPU
    photographs(tmp_path / "in", 40)
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name : An older CPU\nflags : fpu avx avx2\n")
    inject = (
        f"from pathlib import Path\nfrom verger.network import cpu\ncpu._CPUINFO = Path({str(tmp_path)!r}, 'cpuinfo')"
    )
    network = ("--backbone", "mobilenet_v2", "--weights", "random", "--alpha", "0.35", "--input-size", "32")
    places = ("--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"))
    options = (*network, "--precision", "bfloat16", "--cores", "2", "--partitions", "4", "--classifier")
    with verger("run", *places, *options, inject=inject, cwd=tmp_path) as running:
        _, said = running.communicate()
    assert running.returncode == 0, said
    manifest = json.loads(next((tmp_path / "out" / "runs").glob("*/manifest.json")).read_text())
    assert [warning for warning in manifest["warnings"] if "bfloat16 is emulated on a CPU (An older CPU)" in warning]
    assert said.count("bfloat16 is emulated") == 1
    with verger("export", "--run", str(tmp_path / "out"), inject=inject, cwd=tmp_path) as exporting:
        _, said = exporting.communicate()
    assert exporting.returncode == 0, said
    assert said.count("bfloat16 is emulated on a CPU (An older CPU)") == 1
