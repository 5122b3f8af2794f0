"""Whoever waits for the JVM while a store is gone for good is woken, and nobody is left with a JVM that is closing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from py4j.clientserver import ClientServer, JavaParameters, PythonParameters
from pyspark import SparkContext
from pyspark.java_gateway import launch_gateway

from verger.spark import outages


class ClosingServer:
    """A JVM's port in front of the real one; once it is closing, it takes connections and never answers, as Py4J's."""

    def __init__(self, target: int) -> None:
        self.closing = threading.Event()
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._kept: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._kept.append(near)
                if not self.closing.is_set():
                    far = socket.create_connection(("127.0.0.1", self._target))
                    threading.Thread(target=self._copy, args=(near, far), daemon=True).start()
                    threading.Thread(target=self._copy, args=(far, near, True), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, answers: bool = False) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        if answers:  # the JVM has closed a connection: it closes
            self.closing.set()
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        for each in (self._listener, *self._kept):
            each.close()


@pytest.fixture
def jvm() -> Iterator[tuple[ClientServer, ClosingServer]]:
    """A JVM of its own, reached through such a port."""
    own: Any = launch_gateway()  # type: ignore[no-untyped-call]
    real = own.gateway_parameters
    server = ClosingServer(real.port)
    parameters = JavaParameters(port=server.port, auth_token=real.auth_token, auto_convert=True)
    yield ClientServer(parameters, PythonParameters(port=0, eager_load=False)), server
    server.close()
    own.proc.stdin.close()
    own.proc.wait(timeout=30)


def test_a_thread_that_waits_for_the_jvm_is_woken_and_does_not_wait_again(
    jvm: tuple[ClientServer, ClosingServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, server = jvm
    monkeypatch.setattr(SparkContext, "_gateway", gateway)
    raised: list[BaseException] = []

    def wait() -> None:
        sleep = gateway.jvm.java.lang.Thread.sleep  # asks the JVM what that is: this thread is connected
        waiting.set()
        try:
            sleep(240_000)
        except Exception as error:
            raised.append(error)

    waiting = threading.Event()
    waiter = threading.Thread(target=wait, daemon=True)
    waiter.start()
    assert waiting.wait(timeout=30)
    time.sleep(1)  # the call is out
    outages._disconnect_from_jvm()
    waiter.join(timeout=30)
    assert server.closing.is_set()
    assert raised
