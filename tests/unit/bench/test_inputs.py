"""What all parts of the benchmarks decide alike."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from verger.network import cpu


@pytest.mark.parametrize(
    ("flags", "missing"),
    [
        ("avx2 avx512f avx512_vnni", "bfloat16 is emulated on a CPU (Intel Xeon) which has no bf16"),
        ("avx2 avx512f avx512_vnni avx512_bf16", ""),  # slower than float32, which is a result
        ("avx2 avx512f avx512_vnni avx512_bf16 amx_bf16", ""),
    ],
)
def test_bfloat16_is_measured_wherever_the_cpu_has_it(
    flags: str, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor : 0\nmodel name : Intel Xeon\nflags : {flags}\n")
    monkeypatch.setattr(cpu, "_CPUINFO", file)
    for name in ("ONEDNN_MAX_CPU_ISA", "TF_ENABLE_ONEDNN_OPTS"):
        monkeypatch.delenv(name, raising=False)
    assert importlib.import_module("inputs").bfloat16_missing() == missing
