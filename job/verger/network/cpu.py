"""What this machine's CPU computes by instructions of its own, and how fast that is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
# By which oneDNN multiplies bfloat16: on x86-64, and on arm64.
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}
# Values of ONEDNN_MAX_CPU_ISA that keep oneDNN from these instructions, and from AVX-512.
_BELOW_AVX512 = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2"}
_BELOW_BFLOAT16 = {*_BELOW_AVX512, "AVX512_CORE", "AVX512_CORE_VNNI"}
_BELOW_AMX = {*_BELOW_BFLOAT16, "AVX512_CORE_BF16", "AVX10_1_512", "AVX512_CORE_FP16"}

# Flags of /proc/cpuinfo, by the names of the instructions that matter here.
_INSTRUCTIONS = {
    "AVX2": {"avx2"},
    "AVX-512": {"avx512f"},
    "AMX": {"amx_tile"},
    "NEON": {"asimd"},
    "SVE": {"sve"},
    "bf16": _BFLOAT16,
}
# An arm64 CPU has no name in /proc/cpuinfo, but the number of its design.
_ARM_PARTS = {
    "0xd0c": "Arm Neoverse N1",
    "0xd40": "Arm Neoverse V1",
    "0xd49": "Arm Neoverse N2",
    "0xd4f": "Arm Neoverse V2",
}
BENCHMARK_MULTIPLICATIONS_PER_S = {"float32": 30e9, "bfloat16": 60e9}
"""What a core of the first measured machine did, by precision: with AVX-512 and bf16."""
# Speed of float32 with AVX2 alone, as a share of that with AVX-512: 47 of 94 photographs/s of MobileNetV2 on one core.
_FLOAT32_WITHOUT_AVX512 = 0.5
# How many times slower than float32 emulated bfloat16 is: with AVX-512 (31 against 97 photographs/s), and without.
_EMULATED_WITH_AVX512, _EMULATED_WITHOUT = 3.0, 1.5
# The same of Intel's bf16 without AMX: 198 against 258 photographs/s on two cores of one virtual machine.
_INTEL_WITHOUT_AMX = 1.3


@dataclass(frozen=True, slots=True)
class Cpu:
    """The kind of CPU of a machine, of which all CPUs are taken to be alike.

    Attributes
    ----------
    model : str
        Its name; empty where it is unknown.
    flags : frozenset of str
        Its instructions, as /proc/cpuinfo names them; empty where they are unknown.
    uses_bfloat16 : bool
        Whether oneDNN multiplies bfloat16 by instructions of the CPU. The environment may turn them off.
    uses_avx512 : bool
        The same of AVX-512 and float32.
    uses_amx : bool
        The same of AMX and bfloat16.
    """

    model: str
    flags: frozenset[str]
    uses_bfloat16: bool
    uses_avx512: bool
    uses_amx: bool = False

    @classmethod
    def read(cls, cpuinfo: str | None = None, environment: Mapping[str, str] | None = None) -> Cpu:
        """Read what a machine says of its CPU.

        Parameters
        ----------
        cpuinfo : str, optional
            Content of /proc/cpuinfo; default: this machine's.
        environment : mapping of str to str, optional
            Variables, of which TensorFlow and oneDNN have some; default: this process's.
        """
        said = _fields(_read() if cpuinfo is None else cpuinfo)
        variables = os.environ if environment is None else environment
        flags = said.get("flags") or said.get("Features") or ""  # x86-64, arm64
        return cls(
            said.get("model name") or _ARM_PARTS.get(said.get("CPU part", ""), ""),
            frozenset(flags.split()),
            bfloat16_by_instructions(flags, variables),
            "avx512f" in flags.split() and _onednn_uses(variables, _BELOW_AVX512),
            "amx_bf16" in flags.split() and _onednn_uses(variables, _BELOW_AMX),
        )

    @property
    def is_known(self) -> bool:
        """Whether its instructions are known."""
        return bool(self.flags)

    @property
    def instructions(self) -> list[str]:
        """Those that matter here, by their usual names."""
        return [name for name, flags in _INSTRUCTIONS.items() if flags & self.flags]

    @property
    def emulates_bfloat16(self) -> bool:
        """Whether bfloat16 is computed by other instructions; False where what the CPU has is unknown."""
        return self.is_known and not self.uses_bfloat16

    @property
    def slowdown(self) -> float:
        """How many times slower than float32 bfloat16 is; 1 where it is not known to be slower."""
        if self.emulates_bfloat16:
            return _EMULATED_WITH_AVX512 if self.uses_avx512 else _EMULATED_WITHOUT
        return _INTEL_WITHOUT_AMX if self.uses_bfloat16 and "Intel" in self.model and not self.uses_amx else 1.0

    @property
    def was_measured(self) -> bool:
        """Whether something is known of the speed of CPUs of this kind."""
        return "avx2" in self.flags

    def multiplications_per_s(self, precision: str) -> float:
        """How many multiplications of a network one core does in a second.

        Parameters
        ----------
        precision : {"float32", "bfloat16"}
            Of the convolutions.

        Returns
        -------
        float
            That of the benchmark's machine, as far as CPUs of this kind are not known to be slower.
        """
        if precision == "bfloat16" and self.slowdown == 1:
            return BENCHMARK_MULTIPLICATIONS_PER_S["bfloat16"]
        slower = self.was_measured and not self.uses_avx512
        float32 = BENCHMARK_MULTIPLICATIONS_PER_S["float32"] * (_FLOAT32_WITHOUT_AVX512 if slower else 1)
        return float32 / self.slowdown if precision == "bfloat16" else float32

    def describe(self) -> str:
        """Tell what it has, and what each precision would do on it.

        Returns
        -------
        str
            One line.
        """
        if not self.is_known:
            return "its instructions are unknown here; nothing is said of its speed"
        has = f"{self.model or 'of an unknown model'}, with {', '.join(self.instructions) or 'no AVX2, NEON or bf16'}"
        return f"{has}; float32 {self._float32()}; bfloat16 {self._bfloat16()}"

    def _float32(self) -> str:
        if not self.was_measured:
            return "was not measured on such a CPU"
        if self.uses_avx512:
            return "is as fast as in the benchmark"
        return f"is about {1 / _FLOAT32_WITHOUT_AVX512:g} times slower than with AVX-512"

    def _bfloat16(self) -> str:
        if self.uses_bfloat16 and self.slowdown > 1:
            return f"has instructions of its own, but no AMX: about {self.slowdown:g} times slower than float32"
        if self.uses_bfloat16:
            return "has instructions of its own, by which not every such CPU gains: compare both in a small run"
        why = " as the environment turns bf16 off" if _BFLOAT16 & self.flags else ""
        return f"is emulated{why}: about {self.slowdown:g} times slower than float32"


def precision_warning(precision: str, cpuinfo: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """A warning where a precision is slower than float32 on this machine.

    Parameters
    ----------
    precision : {"float32", "bfloat16"}
        Of the convolutions.
    cpuinfo : str, optional
        Content of /proc/cpuinfo; default: this machine's.
    environment : mapping of str to str, optional
        Variables, of which TensorFlow and oneDNN have some; default: this process's.

    Returns
    -------
    str
        One line; empty where the precision is not known to be slower.
    """
    if precision != "bfloat16":
        return ""
    cpu = Cpu.read(cpuinfo, environment)
    if cpu.slowdown == 1:
        return ""
    faster = f"--precision float32 is about {cpu.slowdown:g} times as fast on it"
    if not cpu.emulates_bfloat16:
        return f"bfloat16 is slower than float32 on a CPU ({cpu.model}) that has bf16 but no AMX: {faster}"
    why = "whose bf16 the environment turns off" if _BFLOAT16 & cpu.flags else "which has no bf16"
    return (
        f"bfloat16 is emulated on a CPU ({cpu.model or 'of an unknown model'}) {why}: {faster}, and features differ "
        "from those of CPUs with bf16"
    )


def bfloat16_by_instructions(flags: str, environment: Mapping[str, str]) -> bool:
    """Whether oneDNN multiplies bfloat16 by instructions of the CPU.

    Parameters
    ----------
    flags : str
        Of the CPU, as /proc/cpuinfo names them, with spaces in between.
    environment : mapping of str to str
        TF_ENABLE_ONEDNN_OPTS turns oneDNN off, ONEDNN_MAX_CPU_ISA some instructions.
    """
    return bool(_BFLOAT16 & set(flags.split())) and _onednn_uses(environment, _BELOW_BFLOAT16)


def _onednn_uses(environment: Mapping[str, str], below: set[str]) -> bool:
    """Whether oneDNN is on, and not limited to less than some instructions."""
    is_on = environment.get("TF_ENABLE_ONEDNN_OPTS", "1").lower() not in ("0", "false")
    return is_on and environment.get("ONEDNN_MAX_CPU_ISA", "").upper() not in below


def _read() -> str:
    try:
        return _CPUINFO.read_text()
    except OSError:  # another operating system
        return ""


def _fields(cpuinfo: str) -> dict[str, str]:
    """What the first CPU says of itself. Those of one machine are alike."""
    first = cpuinfo.strip().partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): " ".join(value.split()) for name, _, value in pairs}
