"""A stand-in for AWS's S3 where it matters that keys are no paths: it keeps "a//b", "a/./b", "/a" and "a/" as they are.

MinIO refuses such keys, and versitygw makes paths of them. The stand-in lists, reads and tells its region. It checks no
signature.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote_plus, unquote, urlsplit

REGION = "eu-west-3"
PAGE = 5  # keys of a page, so that few make several


def etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


@dataclass
class FlatStore:
    """One store with one bucket.

    Attributes
    ----------
    objects : dict of str to bytes
        By key. Tests put and delete here.
    port : int
        Where it listens.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    port: int = 0
    bucket: str = "orchard"

    def environment(self) -> dict[str, str]:
        """What a process needs to reach it."""
        return {
            "AWS_ACCESS_KEY_ID": "anything",
            "AWS_SECRET_ACCESS_KEY": "anything",
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{self.port}",
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def listing(self, query: dict[str, str]) -> bytes:
        """ListObjectsV2, with keys encoded as AWS does where it is asked to: a space is a plus sign."""
        after = unquote(query.get("continuation-token") or query.get("start-after", ""))
        keys = sorted(key for key in self.objects if key.startswith(query.get("prefix", "")) and key > after)
        page = keys[: min(PAGE, int(query.get("max-keys", PAGE)))]
        contents = "".join(
            f"<Contents><Key>{quote_plus(key, safe='/')}</Key><Size>{len(self.objects[key])}</Size>"
            f"<ETag>{etag(self.objects[key])}</ETag></Contents>"
            for key in page
        )
        more = len(page) < len(keys)
        token = f"<NextContinuationToken>{quote_plus(page[-1])}</NextContinuationToken>" if more else ""
        return (
            f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>{self.bucket}</Name>'
            f"<EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>{token}{contents}"
            "</ListBucketResult>"
        ).encode()


def _handler(store: FlatStore) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
            bucket, _, key = unquote(url.path[1:]).partition("/")
            data = store.objects.get(key)
            if bucket != store.bucket or (key and data is None):
                self.answer(404, b"<Error><Code>NoSuchKey</Code><Message>no</Message></Error>")
            elif not key:
                self.answer(200, store.listing(query) if "list-type" in query else b"")
            elif self.headers.get("If-Match", etag(data or b"")) != etag(data or b""):
                self.answer(412, b"<Error><Code>PreconditionFailed</Code><Message>no</Message></Error>")
            else:
                self.answer(200, data or b"", ETag=etag(data or b""))

        do_HEAD = do_GET

        def answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"x-amz-bucket-region": REGION, "Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def serving(objects: dict[str, bytes]) -> Iterator[FlatStore]:
    """A store on a free port of this machine, for as long as the context lasts."""
    store = FlatStore(objects)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(store)) as server:
        store.port = server.server_port
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield store
        server.shutdown()
