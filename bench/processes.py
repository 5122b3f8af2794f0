"""Processes that a benchmark starts: how long they take, and their memory as time goes by."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

SAMPLED_EVERY_S = 0.2


class Memory:
    """Resident memory of a process and of those that it starts, sampled from /proc.

    Parameters
    ----------
    process : subprocess.Popen
        It is sampled in a thread, until it ends.

    Attributes
    ----------
    samples : list of tuple (float, dict of str to int)
        Seconds since the start, and bytes by kind: ``driver`` is the process itself, ``jvm`` Java, and ``workers`` all
        others together. Pages that two processes share count once for each.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.samples: list[tuple[float, dict[str, int]]] = []
        self._process = process
        self._began = time.perf_counter()
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def peaks(self) -> dict[str, int]:
        """The most bytes of each kind."""
        kinds = {kind for _, sizes in self.samples for kind in sizes}
        return {kind: max(sizes.get(kind, 0) for _, sizes in self.samples) for kind in sorted(kinds)}

    def _watch(self) -> None:
        while self._process.poll() is None:
            sizes: dict[str, int] = {}
            for identity, name in _tree(self._process.pid):
                kind = "jvm" if name == "java" else "driver" if identity == self._process.pid else "workers"
                sizes[kind] = sizes.get(kind, 0) + _resident(identity)
            self.samples.append((time.perf_counter() - self._began, sizes))
            time.sleep(SAMPLED_EVERY_S)


def _tree(root: int) -> list[tuple[int, str]]:
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


def _resident(identity: int) -> int:
    try:
        return int(Path(f"/proc/{identity}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def timed(command: list[str], **environment: str) -> dict[str, Any]:
    """Run a process that must succeed; the benchmark ends if it does not.

    Parameters
    ----------
    command : list of str
        Program and arguments.
    **environment : str
        Variables beside this process's.

    Returns
    -------
    dict
        ``seconds``, ``memory`` (the `Memory`), and ``said``, what it wrote.
    """
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=os.environ | environment)
        memory = Memory(process)
        code = process.wait()
        said.seek(0)
        text = said.read().decode()
    if code:
        sys.exit(text[-4000:])
    return {"seconds": time.perf_counter() - began, "memory": memory, "said": text}
