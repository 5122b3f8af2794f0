"""Which CPUs have bfloat16, told by what /proc/cpuinfo says on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from verger.network import cpu
from verger.network.cpu import Cpu, precision_warning

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


@pytest.mark.parametrize(
    ("flags", "model"),
    [(f"{AVX512} avx512_bf16", "AMD EPYC"), (f"{AVX512} avx512_bf16 amx_bf16 amx_tile", "Intel(R) Xeon")],
)
def test_a_cpu_with_bf16_warns_of_nothing(flags: str, model: str) -> None:
    assert precision_warning("bfloat16", cpuinfo(flags, model), {}) == ""
    assert precision_warning("bfloat16", cpuinfo(flags, model), {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX"}) == ""


def test_bf16_of_intel_without_amx_is_slower_than_float32() -> None:
    """As in virtual machines whose host keeps AMX for itself."""
    said = cpuinfo(f"{AVX512} avx512_bf16")
    warning = precision_warning("bfloat16", said, {})
    assert warning.startswith(
        "bfloat16 is slower than float32 on a CPU (Intel(R) Xeon(R) CPU E5) that has bf16 but no AMX"
    )
    assert "--precision float32 is about 1.3 times as fast on it" in warning
    found = Cpu.read(said, {})
    assert "but no AMX: about 1.3 times slower than float32" in found.describe()
    assert found.multiplications_per_s("float32") == pytest.approx(1.3 * found.multiplications_per_s("bfloat16"))
    amx, off = cpuinfo(f"{AVX512} avx512_bf16 amx_bf16"), {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}
    assert precision_warning("bfloat16", amx, {}) == ""
    assert precision_warning("bfloat16", amx, off) == warning


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


GRAVITON3 = """processor\t: 0
BogoMIPS\t: 2100.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm sve bf16 i8mm
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x1
CPU part\t: 0xd40
CPU revision\t: 1
"""
GRAVITON2 = GRAVITON3.replace(" sve bf16 i8mm", "").replace("0xd40", "0xd0c")
WHAT_IT_HAS = {
    cpuinfo(AVX2): "Intel(R) Xeon(R) CPU E5, with AVX2; float32 is about 2 times slower than with AVX-512; "
    "bfloat16 is emulated: about 1.5 times slower than float32",
    cpuinfo(AVX512, "Zen"): "Zen, with AVX2, AVX-512; float32 is as fast as in the benchmark; "
    "bfloat16 is emulated: about 3 times slower than float32",
    cpuinfo(f"{AVX512} avx512_bf16 amx_tile amx_bf16", "Zen"): "Zen, with AVX2, AVX-512, AMX, bf16; "
    "float32 is as fast as in the benchmark; "
    "bfloat16 has instructions of its own, by which not every such CPU gains: compare both in a small run",
    GRAVITON3: "Arm Neoverse V1, with NEON, SVE, bf16; float32 was not measured on such a CPU; "
    "bfloat16 has instructions of its own, by which not every such CPU gains: compare both in a small run",
    GRAVITON2: "Arm Neoverse N1, with NEON; float32 was not measured on such a CPU; "
    "bfloat16 is emulated: about 1.5 times slower than float32",
    "": "its instructions are unknown here; nothing is said of its speed",
}


@pytest.mark.parametrize("said", WHAT_IT_HAS)
def test_a_cpu_tells_what_it_has_and_what_that_means(said: str) -> None:
    assert Cpu.read(said, {}).describe() == WHAT_IT_HAS[said]


def test_what_the_environment_turns_off_is_told() -> None:
    found = Cpu.read(cpuinfo(f"{AVX512} avx512_bf16"), {"ONEDNN_MAX_CPU_ISA": "AVX2"})
    assert "float32 is about 2 times slower" in found.describe()
    assert "bfloat16 is emulated as the environment turns bf16 off" in found.describe()


def test_an_arm_cpu_without_bf16_warns_of_bfloat16() -> None:
    assert precision_warning("bfloat16", GRAVITON3, {}) == ""
    warning = precision_warning("bfloat16", GRAVITON2, {})
    assert warning.startswith("bfloat16 is emulated on a CPU (Arm Neoverse N1) which has no bf16")
    assert "--precision float32 is about 1.5 times as fast on it" in warning


def test_a_cpu_with_less_multiplies_slower_and_an_unknown_one_as_the_benchmark() -> None:
    full, avx512, avx2 = (Cpu.read(cpuinfo(flags, "AMD EPYC"), {}) for flags in (f"{AVX512} avx512_bf16", AVX512, AVX2))
    float32 = [one.multiplications_per_s("float32") for one in (full, avx512, avx2)]
    bfloat16 = [one.multiplications_per_s("bfloat16") for one in (full, avx512, avx2)]
    assert float32[0] == float32[1] > float32[2] > bfloat16[2]
    assert bfloat16[0] > float32[0] > bfloat16[1] == bfloat16[2]
    unknown = Cpu.read("", {})
    assert [unknown.multiplications_per_s(precision) for precision in ("float32", "bfloat16")] == [
        float32[0],
        bfloat16[0],
    ]
