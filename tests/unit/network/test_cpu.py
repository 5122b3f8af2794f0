"""Which CPUs have bfloat16, told by what /proc/cpuinfo says on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from verger.network import cpu
from verger.network.cpu import precision_warning

AVX2 = "fpu sse4_2 avx f16c fma avx2 avx_vnni"
AVX512 = f"{AVX2} avx512f avx512bw avx512vl avx512_vnni"


def cpuinfo(flags: str, model: str = "Intel(R) Xeon(R)   CPU E5") -> str:
    one = f"processor\t: 0\nmodel name\t: {model}\nflags\t\t: {flags}\nbugs\t\t: spectre\n"
    return f"{one}\n{one.replace(': 0', ': 1')}\n"


@pytest.mark.parametrize("flags", [AVX2, AVX512, f"{AVX512} avx512_fp16 amx_tile amx_int8"])
def test_a_cpu_without_bf16_warns_of_bfloat16(flags: str) -> None:
    warning = precision_warning("bfloat16", cpuinfo(flags), {})
    assert warning.startswith("bfloat16 is emulated on a CPU (Intel(R) Xeon(R) CPU E5) which has no bf16")
    assert "--precision float32" in warning and "\n" not in warning


@pytest.mark.parametrize("flags", [f"{AVX512} avx512_bf16", f"{AVX512} amx_bf16 amx_tile"])
def test_a_cpu_with_bf16_warns_of_nothing(flags: str) -> None:
    assert precision_warning("bfloat16", cpuinfo(flags), {}) == ""
    assert precision_warning("bfloat16", cpuinfo(flags), {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX"}) == ""


@pytest.mark.parametrize(
    "environment",
    [{"TF_ENABLE_ONEDNN_OPTS": "0"}, {"ONEDNN_MAX_CPU_ISA": "avx2"}, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}],
)
def test_bf16_that_the_environment_turns_off_is_told(environment: dict[str, str]) -> None:
    assert "whose bf16 the environment turns off" in precision_warning(
        "bfloat16", cpuinfo(f"{AVX512} avx512_bf16"), environment
    )


def test_float32_warns_of_nothing() -> None:
    assert precision_warning("float32", cpuinfo(AVX2), {}) == ""


@pytest.mark.parametrize("said", ["", "processor : 0\nBogoMIPS : 243.75\nFeatures : fp asimd bf16\n"])
def test_a_cpu_that_does_not_say_what_it_has_warns_of_nothing(said: str) -> None:
    """Another operating system or architecture."""
    assert precision_warning("bfloat16", said, {}) == ""


def test_without_proc_nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "none")
    assert precision_warning("bfloat16", environment={}) == ""
