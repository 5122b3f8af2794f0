"""Processes that are measured: their seconds, their peak memory, and when each line of what they say came."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MAIN = ROOT / "job" / "main.py"


class Memory:
    """Peak memory of a process and of what it starts, sampled from /proc.

    Attributes
    ----------
    peaks : dict of str to int
        Bytes: of the process itself (``driver``), its JVM (``jvm``), the largest other process below it (``workers``),
        and the most that all of these others had together (``all workers``).
    samples : list of tuple (float, dict of str to int)
        Seconds since the start, and bytes of ``driver``, ``jvm`` and all ``workers`` together.
    """

    def __init__(self, process: subprocess.Popen[Any]) -> None:
        self.peaks: dict[str, int] = {}
        self.samples: list[tuple[float, dict[str, int]]] = []
        self._began = time.perf_counter()
        self._process = process
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while self._process.poll() is None:
            sizes = {"driver": 0, "jvm": 0, "workers": 0}
            for identity, name in tree(self._process.pid):
                if kind := _kind(name, identity == self._process.pid):
                    size = resident(identity)
                    sizes[kind] += size
                    self._raise_to(kind, size)
            self._raise_to("all workers", sizes["workers"])
            self.samples.append((time.perf_counter() - self._began, sizes))
            time.sleep(0.2)

    def _raise_to(self, kind: str, size: int) -> None:
        if size:
            self.peaks[kind] = max(self.peaks.get(kind, 0), size)


def _kind(name: str, is_root: bool) -> str:
    """Which process this is; empty for a child of the JVM that is not yet another program, and counts twice."""
    if is_root:
        return "driver"
    return "jvm" if name == "java" else "workers" if name.startswith("python") else ""


def children_of(process: int) -> list[int]:
    """Ids of the processes that a process has started, with theirs."""
    return [identity for identity, _ in tree(process) if identity != process]


def cpu_seconds(process: int) -> float:
    """Seconds of a core that a process has taken until now."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[tuple[int, str]]:
    """Process ids below a process, it included, with their names."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text()
        except OSError:
            continue
        name, _, rest = fields.partition("(")[2].rpartition(")")
        parents[int(folder.name)] = (int(rest.split()[1]), name)
    found, waiting = [], [root]
    while waiting:
        parent = waiting.pop()
        found += [(parent, parents[parent][1])] if parent in parents else []
        waiting += [child for child, (above, _) in parents.items() if above == parent]
    return found


def kill(process: subprocess.Popen[Any]) -> None:
    """Kill a process and all that it has started, and wait until they are gone: they would slow what comes next."""
    killed: set[int] = set()
    while below := {identity for identity, _ in tree(process.pid)} - killed:  # some may be started meanwhile
        for identity in below:
            with suppress(ProcessLookupError):
                os.kill(identity, signal.SIGSTOP)
        killed |= below
    for identity in killed:
        with suppress(ProcessLookupError):
            os.kill(identity, signal.SIGKILL)
    with suppress(ProcessLookupError, PermissionError):  # what is left of its group where it has ended itself
        os.killpg(process.pid, signal.SIGKILL)
    while any(map(is_running, killed)):
        time.sleep(0.02)


def is_running(identity: int) -> bool:
    """Whether a process has not ended; one that its parent has not asked about has."""
    try:
        state = Path(f"/proc/{identity}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def resident(identity: int) -> int:
    """Resident memory of a process, bytes; 0 where it has ended."""
    try:
        return int(Path(f"/proc/{identity}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def timed(command: list[str], **environment: str) -> dict[str, Any]:
    """Seconds and memory of a process that must succeed: its ``peaks`` as ``memory``, and its ``samples``."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=os.environ | environment)
        memory = Memory(process)
        if process.wait():
            said.seek(0)
            sys.exit(said.read().decode()[-4000:])
    return {"seconds": time.perf_counter() - began, "memory": memory.peaks, "samples": memory.samples}


def told(
    command: list[str],
    limit_s: float | None = None,
    must_succeed: bool = True,
    until: Callable[[str], bool] | None = None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run a process and keep what it says, with the second at which each line came.

    Parameters
    ----------
    command : list of str
        The process. What it prints to stdout and stderr is read line by line.
    limit_s : float, optional
        Seconds after which it is killed, with all that it has started.
    must_succeed : bool
        Whether another exit code than 0 ends this program.
    until : callable, optional
        The process is killed at the first line for which this is true, which then counts as success.
    environment : mapping of str to str, optional
        Variables that the process has beside those of this one.

    Returns
    -------
    dict
        ``seconds``, ``memory`` (bytes), ``exit_code``, ``timed_out``, ``began`` (time.time()), ``pid``, and ``lines``:
        pairs of seconds since the start and text.
    """
    wall, began = time.time(), time.perf_counter()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )
    memory, late = Memory(process), threading.Event()

    def end() -> None:
        late.set()
        kill(process)

    timer = threading.Timer(limit_s or 0, end)
    if limit_s:
        timer.start()
    assert process.stdout is not None
    lines: list[tuple[float, str]] = []
    stopped = False
    try:
        for line in process.stdout:
            lines.append((time.perf_counter() - began, line.decode(errors="replace").rstrip("\n")))
            if until is not None and not stopped and until(lines[-1][1]):
                kill(process)
                stopped = True
    except BaseException:  # Ctrl-C does not reach a session of its own
        kill(process)
        raise
    process.wait()
    timer.cancel()
    if late.is_set():
        timer.join()  # what the process has started is gone, too
    seconds = time.perf_counter() - began
    if must_succeed and process.returncode and not stopped:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n" + "\n".join(text for _, text in lines[-40:]))
    return {
        "seconds": seconds,
        "memory": memory.peaks,
        "exit_code": process.returncode,
        "timed_out": late.is_set(),
        "began": wall,
        "pid": process.pid,
        "lines": lines,
    }


def events(lines: list[tuple[float, str]]) -> list[tuple[float, dict[str, Any]]]:
    """The JSON lines among what a run said, with the seconds at which they came."""
    found = []
    for second, text in lines:
        if text.startswith('{"'):
            found.append((second, json.loads(text)))
    return found
