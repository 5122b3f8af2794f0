"""A gateway in front of a store that answers some requests itself, as AWS would and the store behind it does not."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.integration.s3 import Server

USER = "User: arn:aws:iam::123456789012:user/orchard is not authorized to perform:"
KEY = "arn:aws:kms:eu-west-3:123456789012:key/0a1b"


@dataclass(frozen=True)
class Asked:
    """A request, with the bucket in its path."""

    method: str
    bucket: str
    key: str
    query: dict[str, list[str]]
    headers: dict[str, str]

    @property
    def makes_an_object(self) -> bool:
        """Whether it is PutObject, CopyObject or CreateMultipartUpload."""
        put = self.method == "PUT" and "partNumber" not in self.query
        return bool(self.key) and (put or (self.method == "POST" and "uploads" in self.query))


@dataclass(frozen=True)
class Refusal:
    """An error of S3; to HEAD its body is left out."""

    code: str
    message: str
    status: int = 403
    more: str = ""  # further elements of the error


@contextmanager
def in_front_of(server: Server, refuse: Callable[[Asked], Refusal | None]) -> Iterator[str]:
    """The endpoint of a gateway that passes on what ``refuse`` returns None for.

    Clients sign for the gateway's address, and a store checks the signature with the address that it is told.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urlsplit(self.path)
            bucket, _, key = unquote(url.path).removeprefix("/").partition("/")
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = parse_qs(url.query, keep_blank_values=True)
            refused = refuse(Asked(self.command, bucket, key, query, headers))
            if refused:
                error = f"<Code>{refused.code}</Code><Message>{refused.message}</Message>{refused.more}"
                self.reply(refused.status, {"Content-Type": "application/xml"}, f"<Error>{error}</Error>".encode())
                return
            store = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            try:
                store.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in ("connection", "expect"):
                        store.putheader(name, value)
                store.endheaders(body)
                answer = store.getresponse()
                kept = {name: value for name, value in answer.getheaders() if name.lower() not in _NOT_PASSED_ON}
                length = answer.getheader("Content-Length") if self.command == "HEAD" else None
                self.reply(answer.status, kept, answer.read(), length)
            finally:
                store.close()

        def reply(self, status: int, headers: dict[str, str], body: bytes, length: str | None = None) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", length or str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any

        def log_message(self, *_: Any) -> None:
            pass

    class Gateway(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Clients that hang up are none of its business."""

    with Gateway(("127.0.0.1", 0), Handler) as gateway:
        threading.Thread(target=gateway.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{gateway.server_port}"
        gateway.shutdown()


_NOT_PASSED_ON = {"content-length", "transfer-encoding", "connection"}


def archived(*keys: str) -> Callable[[Asked], Refusal | None]:
    """Objects of storage class GLACIER: they are listed, and not read."""

    def refuse(asked: Asked) -> Refusal | None:
        if asked.method == "GET" and asked.key in keys:
            words = "The operation is not valid for the object's storage class"
            return Refusal("InvalidObjectState", words, more="<StorageClass>GLACIER</StorageClass>")
        return None

    return refuse


def demanding(encryption: str, below: str) -> Callable[[Asked], Refusal | None]:
    """A bucket policy that denies s3:PutObject without this encryption. AWS does not ask it of an upload's parts."""

    def refuse(asked: Asked) -> Refusal | None:
        given = asked.headers.get("x-amz-server-side-encryption")
        if not asked.makes_an_object or not asked.key.startswith(below) or given == encryption:
            return None
        resource = f"arn:aws:s3:::{asked.bucket}/{asked.key}"
        why = "with an explicit deny in a resource-based policy"
        return Refusal("AccessDenied", f'{USER} s3:PutObject on resource: "{resource}" {why}')

    return refuse


def without_right_to_the_key(action: str) -> Callable[[Asked], Refusal | None]:
    """A bucket that is encrypted with a KMS key which these credentials may not use."""

    def refuse(asked: Asked) -> Refusal | None:
        needs_key = asked.makes_an_object if action == "kms:GenerateDataKey" else asked.method == "GET" and asked.key
        because = f"because no identity-based policy allows the {action} action"
        return Refusal("AccessDenied", f"{USER} {action} on resource: {KEY} {because}") if needs_key else None

    return refuse


def locked() -> Callable[[Asked], Refusal | None]:
    """A bucket whose objects are locked for a time: AWS demands a checksum of what is put."""

    def refuse(asked: Asked) -> Refusal | None:
        sums = [name for name in asked.headers if re.match("content-md5$|x-amz-checksum-|x-amz-trailer$", name)]
        if asked.method != "PUT" or sums:
            return None
        words = (
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters"
        )
        return Refusal("InvalidRequest", words, 400)

    return refuse
