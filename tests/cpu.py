"""Kinds of CPU: what this one has, how a process computes as another kind does, and how near their features must be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.conftest import ROOT
from verger.network.backbones import FEATURE_TOLERANCE
from verger.network.cpu import bfloat16_by_instructions

Features = npt.NDArray[np.float32]

# The environment in which TensorFlow computes as on another kind of CPU. On its own it turns oneDNN's convolutions off
# where the CPU has neither VNNI nor bf16 nor AMX (`DefaultOneDnnPolicy` in its port.cc); its own kernels that compute
# instead still take their matrix product from oneDNN.
KINDS = {
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "TF_ENABLE_ONEDNN_OPTS": "0"},
    "AVX2 with VNNI": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "AVX-512 without VNNI": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "TF_ENABLE_ONEDNN_OPTS": "0"},
}

_BELOW_AVX512 = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2"}

_COMPUTE = """
import sys
import numpy as np
from verger.config import NetworkSettings
from verger.network.backbones import resolve
from verger.network.inference import build
from verger.storage.stores import Stores
photographs = np.load(sys.argv[1])
found = resolve(NetworkSettings(input_size=photographs.shape[1]), Stores())
np.save(sys.argv[2], build(found.freeze())(photographs))
"""


def features_on(kind: str, photographs: npt.NDArray[np.uint8], folder: Path) -> Features:
    """The default network's features of photographs, uint8 (n, s, s, 3), by a process that computes as on that kind.

    A kind that has more than this CPU computes as this CPU does.
    """
    taken, given = folder / "photographs.npy", folder / "features.npy"
    np.save(taken, photographs)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VERGER_")}
    environment |= {"PYTHONPATH": str(ROOT / "job"), "TF_CPP_MIN_LOG_LEVEL": "3"} | KINDS[kind]
    command = [sys.executable, "-c", _COMPUTE, str(taken), str(given)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    found: Features = np.load(given)
    return found


def differences(found: Features, expected: Features) -> npt.NDArray[np.float64]:
    """For each photograph the largest difference of a feature, as a share of the photograph's largest feature."""
    largest = np.abs(expected).max(axis=1).astype(np.float64)
    return np.abs(found.astype(np.float64) - expected).max(axis=1) / largest


def assert_within_tolerance(found: npt.ArrayLike, expected: npt.ArrayLike) -> None:
    """Features (n, d) are those of the same photographs in the same order, as near as `FEATURE_TOLERANCE` promises."""
    found, expected = np.asarray(found, np.float32), np.asarray(expected, np.float32)
    assert found.shape == expected.shape
    worst = differences(found, expected).max()
    assert worst <= FEATURE_TOLERANCE, f"features differ by {worst:.1e} of their photograph's largest"


def has_bfloat16() -> bool:
    """Whether this process multiplies bfloat16 by instructions of the CPU; elsewhere it is emulated."""
    return bfloat16_by_instructions(" ".join(_flags()), os.environ)


def bfloat16_cannot_be_computed() -> bool:
    """Whether oneDNN must do without the AVX-512 that TensorFlow sees: TensorFlow then asks it for what it has not.

    On no CPU is that so: only ONEDNN_MAX_CPU_ISA does it.
    """
    return "avx512f" in _flags() and _onednn_is_on() and _limit() in _BELOW_AVX512


def _flags() -> set[str]:
    try:
        return set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return set()


def _limit() -> str:
    return os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()


def _onednn_is_on() -> bool:
    return os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1").lower() not in ("0", "false")
