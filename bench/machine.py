"""The machine that measures: its CPU, memory and versions, for the page."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from inputs import CORES
from processes import ROOT

# What decides how fast a network is, where the CPU has it.
INSTRUCTIONS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
PACKAGES = ("numpy", "pillow", "pyarrow", "pyspark", "scikit-learn", "tensorflow-cpu", "keras")


def describe() -> dict[str, Any]:
    """CPU model, cores, instructions, memory and kernel; and whether `verger prepare` was called."""
    from verger.spark import class_archive

    cpu = _fields(Path("/proc/cpuinfo").read_text())
    flags = set(cpu.get("flags", "").split())
    return {
        "cpu": cpu.get("model name", platform.machine()),
        "cores": CORES,
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9),
        "system": platform.platform(),
        "prepared": class_archive.place().is_file(),
    }


def revision() -> str:
    """The commit of this checkout; unknown where it is none."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    said = subprocess.run(command, check=False, capture_output=True, text=True)
    return said.stdout.strip() or "unknown"


def versions() -> dict[str, str]:
    """Of Python, Java, Verger and the packages that compute."""
    from verger import __version__

    found = {"verger": __version__, "python": platform.python_version(), "java": _java()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _java() -> str:
    if not shutil.which("java"):
        return "none"
    said = subprocess.run(["java", "-version"], check=False, capture_output=True, text=True).stderr
    return said.split('"')[1] if '"' in said else "unknown"


def _fields(cpuinfo: str) -> dict[str, str]:
    """What the first CPU says of itself."""
    pairs = (line.partition(":") for line in cpuinfo.partition("\n\n")[0].splitlines())
    return {name.strip(): " ".join(value.split()) for name, _, value in pairs}
