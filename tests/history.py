"""Spark's history server as manifests/history configures it, and what it says of an event log."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import yaml

from tests.conftest import ROOT

MANIFEST = ROOT / "manifests" / "history" / "history-server.yaml"
# What the manifest says for AWS: each test has a folder and keys of its own instead.
FOLDER = "s3a://my-results/events"
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")

_direct = build_opener(ProxyHandler({}))


def container() -> dict[str, Any]:
    """The container of the manifest's Deployment."""
    (deployment,) = [each for each in yaml.safe_load_all(MANIFEST.read_text()) if each["kind"] == "Deployment"]
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


def variables(folder: str, endpoint_url: str, port: int) -> dict[str, str]:
    """The container's environment but for the keys, with another folder, endpoint and port."""
    found = {entry["name"]: entry["value"] for entry in container()["env"]}
    assert found["SPARK_HISTORY_OPTS"].count(FOLDER) == 1
    elsewhere = f" -Dspark.hadoop.fs.s3a.endpoint={endpoint_url} -Dspark.history.ui.port={port}"
    return found | {"SPARK_HISTORY_OPTS": found["SPARK_HISTORY_OPTS"].replace(FOLDER, folder) + elsewhere}


def probe() -> str:
    """The path that Kubernetes asks for, to know whether the server is ready."""
    path: str = container()["readinessProbe"]["httpGet"]["path"]
    return path


def answer(port: int, path: str) -> Any:
    """What a server on this machine answers to a path of its API, as JSON."""
    with _direct.open(f"http://127.0.0.1:{port}{path}", timeout=30) as said:
        return json.load(said)


def awaited(port: int, path: str, alive: Callable[[], bool]) -> Any:
    """The first answer that is not empty, from a server that starts; None where it ends or has none in two minutes."""
    deadline = time.monotonic() + 120
    while alive() and time.monotonic() < deadline:
        with suppress(URLError, OSError):
            if found := answer(port, path):
                return found
        time.sleep(0.3)
    return None
