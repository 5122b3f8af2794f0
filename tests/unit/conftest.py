"""Fixtures of unit tests of stores: a pair of example keys, and a fake S3 that gives the answers that a test sets."""

from __future__ import annotations

import functools
import os
import socket
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import botocore.loaders
import pytest

from tests.unit.s3_answers import Store, handler_of


@pytest.fixture(scope="session", autouse=True)
def _one_loader() -> Iterator[None]:
    """Let boto3 read its descriptions of services once, and not for every client: most of the time of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.loaders.create_loader", functools.cache(botocore.loaders.create_loader))
        yield


@pytest.fixture
def example_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment with a pair of keys, and without any other variable or file of AWS."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-to-be-shown")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="module")
def listening() -> Iterator[Store]:
    """One server for all tests, at one address, as clients are made once for each bucket and address."""
    answering = Store()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler_of(answering)) as server:
        answering.port = server.server_port
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield answering
        server.shutdown()


@pytest.fixture
def store(listening: Store) -> Store:
    listening.__init__(port=listening.port)  # type: ignore[misc]
    return listening


@pytest.fixture
def aws(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The same store under AWS's host names, which resolve to it."""
    real = socket.getaddrinfo

    def local(host: str, *more: Any, **named: Any) -> Any:
        return real("127.0.0.1" if host.endswith("amazonaws.com") else host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", local)
    return store
