"""The process from which workers are forked, started ahead of Spark: it imports TensorFlow while the JVM starts.

Spark starts its daemon for Python workers itself, at the first task: on one machine that is seconds after the driver
knows that there will be one. So the driver starts a process that imports what workers need, and listens on a socket.
The daemon that Spark starts then hands over what Spark gave it: its standard streams and its environment. It stays
until the other process ends, which forks the workers in its place. Where nobody listens, it does all of it itself.
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

DAEMON = "verger.network.daemon"
"""The module that Spark starts, and the driver with ``LISTEN`` and the number of a socket."""
LISTEN = "--listen"
_SOCKET = "VERGER_DAEMON_SOCKET"
_STREAMS = (0, 1, 2)
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
            path = os.path.join(self._folder, "daemon")
            listener.bind(path)
            listener.listen(1)  # so that Spark's daemon waits, however soon it comes
            self._process = subprocess.Popen(
                [sys.executable, "-m", DAEMON, LISTEN, str(listener.fileno())],
                pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE,  # its end is this process's
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                process_group=0,  # as Spark's daemon: a signal to ours must not end it before the run has cleaned up
            )
            self.settings = {f"spark.executorEnv.{_SOCKET}": path}

    def close(self) -> None:
        """End the process. Spark has stopped, or has not started."""
        if self._process:
            assert self._process.stdin
            with suppress(OSError):
                self._process.stdin.close()
            if not os.path.exists(self._folder):  # it works for Spark, and ends with it
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_PATIENCE_S)
            if self._process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)


def hand_over() -> bool:
    """Let the process that was started ahead do the work of this one, which Spark has started.

    Returns
    -------
    bool
        Whether it has done so, and has ended. Otherwise there is none, and nothing has happened.
    """
    given = {"environment": dict(os.environ), "arguments": sys.argv[1:]}
    taken = b""
    with suppress(OSError, KeyError), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ[_SOCKET])
        socket.send_fds(connection, [b"."], _STREAMS)
        connection.sendall(json.dumps(given).encode())
        connection.shutdown(socket.SHUT_WR)
        taken = connection.recv(1)  # when it has imported everything
        while taken and connection.recv(1):
            pass
    return bool(taken)


class Listening:
    """Waits for Spark's daemon, in the process that was started ahead.

    Parameters
    ----------
    number : int
        Of the socket that the driver left open. It is alone in its folder, which is gone when the wait is over.
    """

    def __init__(self, number: int) -> None:
        self._listener = socket.socket(fileno=number)
        self._connection: socket.socket | None = None  # Spark's daemon waits for its end

    def take_over(self) -> bool:
        """Wait until Spark's daemon hands over its work, and become it.

        Returns
        -------
        bool
            False where there is nothing to do: the driver has ended, or does without workers.
        """
        ready, _, _ = select.select([sys.stdin, self._listener], [], [])
        given = self._listener in ready and self._received()
        shutil.rmtree(os.path.dirname(self._listener.getsockname()), ignore_errors=True)
        self._listener.close()
        if not given:
            return False
        os.environ.clear()
        os.environ.update(given["environment"])
        sys.argv[1:] = given["arguments"]
        assert self._connection
        self._connection.sendall(b".")
        return True

    def _received(self) -> dict[str, dict[str, str]]:
        self._connection, _ = self._listener.accept()
        _, streams, _, _ = socket.recv_fds(self._connection, 1, len(_STREAMS))
        for theirs, ours in zip(streams, _STREAMS, strict=True):
            os.dup2(theirs, ours)
            os.close(theirs)
        with self._connection.makefile("rb") as told:
            given: dict[str, dict[str, str]] = json.load(told)
        return given
