"""The process from which workers are forked, started ahead of Spark: it imports TensorFlow while the JVM starts.

Spark starts its daemon for Python workers itself, at the first task: on one machine that is seconds after the driver
knows that there will be one. So the driver starts a process that imports what workers need, and listens on a socket.
The daemon that Spark starts then hands over what Spark gave it: its standard streams and its environment. It stays
until the other process ends, which forks the workers in its place. Where nobody listens, it does all of it itself.

The socket is in a folder of this user, who alone may connect, or listen there. The folder stays as long as Spark does.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

DAEMON = "verger.network.daemon"
"""The module that Spark starts."""
LISTEN = "--listen"
"""The option with which the driver starts the same module. The number of a socket follows."""
_SOCKET = "VERGER_DAEMON_SOCKET"
_NAME = "daemon"
_STREAMS = (0, 1, 2)
# After Spark has stopped, the process ends by itself in less.
_PATIENCE_S = 5.0


class Prestart:
    """The process that is started ahead. Whatever goes wrong, Spark's own daemon does its work.

    Parameters
    ----------
    environment : mapping of str to str
        What the process is started with: that of Spark's workers, as far as imports read it.

    Attributes
    ----------
    settings : dict of str to str
        Of Spark: they tell its daemon where to hand over.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.settings: dict[str, str] = {}
        self._folder = ""
        self._process: subprocess.Popen[bytes] | None = None
        with suppress(OSError), socket.socket(socket.AF_UNIX) as listener:
            self._folder = tempfile.mkdtemp(prefix="verger-")  # for this user alone
            path = os.path.join(self._folder, _NAME)
            listener.bind(path)
            listener.listen(1)  # so that Spark's daemon waits, however soon it comes
            self._process = subprocess.Popen(
                [sys.executable, "-m", DAEMON, LISTEN, str(listener.fileno())],
                pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE,  # which is closed where this process ends, however
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                process_group=0,  # as Spark's daemon: a signal to ours must not end it before the run has cleaned up
            )
            self.settings = {f"spark.executorEnv.{_SOCKET}": path}

    def close(self) -> None:
        """End the process. Spark has stopped, or has not started."""
        try:
            if self._process:
                self._end(self._process)
        finally:
            if self._folder:
                shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin
        with suppress(OSError):
            process.stdin.close()
        if not os.path.exists(os.path.join(self._folder, _NAME)):  # it works for Spark, and ends with it
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE_S)
        if process.poll() is None:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def hand_over() -> bool:
    """Let the process that was started ahead do the work of this one, which Spark has started.

    Returns
    -------
    bool
        Whether there is nothing left to do: the other process has done the work and has ended, or Spark has ended.
        Otherwise nothing has happened.
    """
    given = {"environment": dict(os.environ), "arguments": sys.argv[1:]}
    taken = False
    with suppress(OSError, KeyError), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ[_SOCKET])
        with suppress(OSError):
            socket.send_fds(connection, [b"."], _STREAMS)
            connection.sendall(json.dumps(given).encode())
            connection.shutdown(socket.SHUT_WR)
            taken = bool(connection.recv(1))  # when it has imported everything
            while taken and connection.recv(1):
                pass
        # Spark sends nothing before it knows a port, so that there is nothing to read but the end.
        return taken or bool(_readable(sys.stdin))
    return False


def _readable(*files: Any, timeout_ms: int | None = 0) -> list[int]:
    """Which of some files can be read, or have ended."""
    poll = select.poll()  # as select.select takes no file number above 1,023
    for file in files:
        poll.register(file, select.POLLIN)
    return [number for number, _ in poll.poll(timeout_ms)]


class Listening:
    """Waits for Spark's daemon, in the process that was started ahead.

    Parameters
    ----------
    number : int
        Of the socket that the driver left open.
    """

    def __init__(self, number: int) -> None:
        self._listener = socket.socket(fileno=number)

    def take_over(self) -> bool:
        """Wait until Spark's daemon hands over its work, and become it.

        Returns
        -------
        bool
            False where there is nothing to do: the driver has ended or does without workers, or Spark has ended.
        """
        path = self._listener.getsockname()
        try:
            if self._listener.fileno() not in _readable(sys.stdin, self._listener, timeout_ms=None):
                shutil.rmtree(os.path.dirname(path), ignore_errors=True)
                return False
            connection, _ = self._listener.accept()
        finally:
            self._listener.close()
        os.unlink(path)
        return _became(connection)


def _became(connection: socket.socket) -> bool:
    """Take over what Spark's daemon sends, which then waits until the connection ends."""
    _, streams, _, _ = socket.recv_fds(connection, 1, len(_STREAMS))
    with connection.makefile("rb") as told:
        given = json.load(told)
    for theirs, ours in zip(streams, _STREAMS, strict=True):
        os.dup2(theirs, ours)
        os.close(theirs)
    os.environ.clear()
    os.environ.update(given["environment"])
    sys.argv[1:] = given["arguments"]
    try:
        connection.sendall(b".")
    except OSError:
        return False
    os.register_at_fork(after_in_child=connection.close)  # so that workers do not keep it; and this process does
    return True
