"""What this machine's CPU computes by instructions of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_BFLOAT16 = {"avx512_bf16", "amx_bf16"}  # by which oneDNN multiplies
# Values of ONEDNN_MAX_CPU_ISA that keep oneDNN from these instructions.
_BELOW_BFLOAT16 = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"}


def precision_warning(precision: str, cpuinfo: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """A warning where this machine emulates a precision, which is then slower than float32.

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
        One line; empty where the CPU has the precision, or what it has is unknown.
    """
    if precision != "bfloat16":
        return ""
    said = _fields(_read() if cpuinfo is None else cpuinfo)
    if "flags" not in said or bfloat16_by_instructions(
        said["flags"], os.environ if environment is None else environment
    ):
        return ""
    name = said.get("model name", "of an unknown model")
    why = "which has no bf16" if not _BFLOAT16 & set(said["flags"].split()) else "whose bf16 the environment turns off"
    return (
        f"bfloat16 is emulated on a CPU ({name}) {why}: it is slower there than float32, and features differ from "
        "those of CPUs with bf16; --precision float32 is faster on it"
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
    is_on = environment.get("TF_ENABLE_ONEDNN_OPTS", "1").lower() not in ("0", "false")
    limit = environment.get("ONEDNN_MAX_CPU_ISA", "").upper()
    return is_on and limit not in _BELOW_BFLOAT16 and bool(_BFLOAT16 & set(flags.split()))


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
