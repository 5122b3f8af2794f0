"""A small web server that answers as a test wants it, and remembers what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Request:
    """What a client asked: its query and the fields of a form are in ``parameters``."""

    method: str
    path: str
    parameters: dict[str, str]
    headers: dict[str, str]


@dataclass
class Answer:
    """What it is told."""

    body: str = ""
    status: int = 200
    kind: str = "application/xml"


@dataclass
class Web:
    """A server that runs."""

    url: str
    asked: list[Request] = field(default_factory=list)


@contextmanager
def serving(answer: Callable[[Request], Answer]) -> Iterator[Web]:
    """A server on a free port of this machine, for as long as the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            form = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode(errors="replace")
            url = urlsplit(self.path)
            parameters = {name: values[0] for name, values in (parse_qs(url.query) | parse_qs(form)).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            web.asked.append(Request(self.command, url.path, parameters, headers))
            told = answer(web.asked[-1])
            self.send_response(told.status)
            self.send_header("Content-Type", told.kind)
            self.send_header("Content-Length", str(len(told.body.encode())))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(told.body.encode())

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """Clients that hang up are none of its business."""

    with Server(("127.0.0.1", 0), Handler) as server:
        web = Web(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield web
        server.shutdown()
