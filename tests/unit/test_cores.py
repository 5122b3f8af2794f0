"""How many cores a process may use, by its CPU set and by the quotas of its control groups."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from verger import cores


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight cores; control groups are files below the folder, and the process's own are in ``own``."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(cores, "_CGROUP_MOUNT", tmp_path / "cgroup")
    monkeypatch.setattr(cores, "_PROCESS_CGROUPS", tmp_path / "own")
    return tmp_path


def put(machine: Path, own: str, files: dict[str, str]) -> None:
    (machine / "own").write_text(own)
    for name, text in files.items():
        file = machine / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_without_control_groups_the_cpu_set_counts(machine: Path) -> None:
    assert cores.available_cores() == 8


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("200000 100000", 2), ("250000 100000", 3), ("10000 100000", 1), ("1600000 100000", 8), ("max 100000", 8)],
)
def test_the_quota_of_a_container_is_rounded_up(machine: Path, quota: str, expected: int) -> None:
    put(machine, "0::/\n", {"cpu.max": quota})
    assert cores.available_cores() == expected


def test_the_smallest_quota_of_the_nested_groups_counts(machine: Path) -> None:
    put(machine, "0::/a/b\n", {"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "300000 100000\n"})
    assert cores.available_cores() == 3


@pytest.mark.parametrize(("quota", "expected"), [("150000", 2), ("-1", 8)])
@pytest.mark.parametrize("path", ["/", "/docker/of-the-host"])
def test_cgroups_version_1(machine: Path, path: str, quota: str, expected: int) -> None:
    files = {"cpu/cpu.cfs_quota_us": quota, "cpu/cpu.cfs_period_us": "100000"}
    put(machine, f"9:name=systemd:/\n4:cpu,cpuacct:{path}\n0::/\n", files)
    assert cores.available_cores() == expected


@pytest.mark.parametrize("text", ["", "words that are no numbers", "0 0"])
def test_a_quota_that_cannot_be_read_is_ignored(machine: Path, text: str) -> None:
    put(machine, "0::/\n", {"cpu.max": text})
    assert cores.available_cores() == 8


def test_one_thread_whatever_the_environment_says() -> None:
    program = """
from verger.cores import use_one_thread
from threadpoolctl import threadpool_info
import numpy, pyarrow
before = [pool["num_threads"] for pool in threadpool_info()]
use_one_thread()
print(before, [pool["num_threads"] for pool in threadpool_info()], pyarrow.cpu_count())
"""
    environment = os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[2] [1] 1\n"
