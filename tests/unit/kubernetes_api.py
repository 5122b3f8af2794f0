"""A server that answers as Kubernetes' API does, over TLS."""

from __future__ import annotations

import functools
import json
import queue
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme
from kubernetes.config import incluster_config

from verger.spark import pods

LABEL = "topology.kubernetes.io/region"
SELECTOR = "spark-role=executor,spark-app-selector=spark-1"


def pod(name: str, node: str | None = None, region: str | None = None) -> dict[str, Any]:
    labels = {LABEL: region} if region else {}
    spec = {"containers": [{"name": "spark"}]} | ({"nodeName": node} if node else {})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


class Api(ThreadingHTTPServer):
    """Pods of one namespace, nodes, and a watch; ``forbidden`` paths are refused, and a broken one hangs up."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.pods: dict[str, dict[str, Any]] = {}
        self.nodes: dict[str, str | None] = {}
        self.forbidden: set[str] = set()
        self.broken = False
        self.watches: list[queue.Queue[dict[str, Any] | None]] = []

    def joins(self, *event: Any) -> None:
        """A pod appears, or changes, in every watch there is and in later listings."""
        kind, joining = event
        self.pods[joining["metadata"]["name"]] = joining
        for watch in list(self.watches):
            watch.put({"type": kind, "object": joining})

    def hangs_up(self) -> None:
        """End every watch."""
        for watch in list(self.watches):
            watch.put(None)

    def handle_error(self, *_: Any) -> None:
        """A client that goes away is no failure of a test."""


class _Handler(BaseHTTPRequestHandler):
    server: Api
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if self.server.broken:
            self.close_connection = True
            return
        if self.headers.get("authorization", "").lower() != "bearer of-the-pod":
            self._say(401, {"kind": "Status", "code": 401})
        elif any(part in url.path for part in self.server.forbidden):
            self._say(403, {"kind": "Status", "code": 403, "reason": "Forbidden"})
        elif url.path == "/api/v1/namespaces/jobs/pods":
            query = parse_qs(url.query)
            asked_for = query.get("labelSelector") == [SELECTOR]
            found = [one for name, one in self.server.pods.items() if asked_for and name != "driver"]
            if "watch" in query:
                self._watch(found)
            else:
                self._say(200, {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": found})
        elif url.path.startswith("/api/v1/namespaces/jobs/pods/"):
            self._one(self.server.pods.get(url.path.rpartition("/")[2]))
        else:
            name = url.path.removeprefix("/api/v1/nodes/")
            region = self.server.nodes.get(name, "")
            labels = {LABEL: region} if region else {}
            self._one(
                None if region == "" else {"kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": {}}
            )

    def _one(self, found: dict[str, Any] | None) -> None:
        self._say(200 if found else 404, found or {"kind": "Status", "code": 404, "reason": "NotFound"})

    def _watch(self, found: list[dict[str, Any]]) -> None:
        events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        for one in found:
            events.put({"type": "ADDED", "object": one})
        self.server.watches.append(events)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while (event := events.get()) is not None:
            line = json.dumps(event).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")
        self.server.watches.remove(events)

    def _say(self, status: int, body: dict[str, Any]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data := json.dumps(body).encode())))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@functools.cache
def _authority() -> trustme.CA:
    return trustme.CA()


@contextmanager
def serving(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The API of a cluster, in which this process is a pod that is called driver."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _authority().issue_cert("127.0.0.1").configure_cert(context)
    _authority().cert_pem.write_to_path(str(folder / "ca.crt"))
    (folder / "token").write_text("of-the-pod")
    (folder / "namespace").write_text("jobs\n")
    monkeypatch.setattr(pods, "NAMESPACE_FILE", folder / "namespace")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(folder / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(folder / "ca.crt"))
    with Api(context) as server:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.server_port))
        monkeypatch.setenv("HOSTNAME", "driver")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.hangs_up()
        server.shutdown()
