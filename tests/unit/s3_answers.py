"""A fake S3 that gives the answers that a test sets, over a real connection; and calls of the guard on its buckets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

import pytest

from verger.config import RunConfig
from verger.errors import ResidencyError, VergerError
from verger.residency.guard import Residency, guard
from verger.storage.stores import Stores

XML = '<?xml version="1.0" encoding="UTF-8"?>'
REGION = "x-amz-bucket-region"
RULE = "<Rule><Status>{}</Status><Priority>1</Priority><Destination><Bucket>{}</Bucket></Destination></Rule>"


@dataclass
class Answer:
    status: int = 200
    region: str | None = None
    code: str = ""  # of the error in a body, where there is one
    body: str = ""

    def bytes(self) -> bytes:
        error = f"{XML}<Error><Code>{self.code}</Code><Message>no</Message></Error>" if self.code else ""
        return (self.body or error).encode()


NOT_REPLICATED = Answer(404, code="ReplicationConfigurationNotFoundError")
EMPTY = Answer(body=f"{XML}<ListBucketResult><Name>b</Name></ListBucketResult>")


def replicated(*targets: str, status: str = "Enabled") -> Answer:
    rules = "".join(RULE.format(status, target) for target in targets)
    return Answer(body=f"{XML}<ReplicationConfiguration><Role>r</Role>{rules}</ReplicationConfiguration>")


@dataclass
class Store:
    """The answers that a fake S3 gives: to HEAD by bucket and signing region, to a listing, and on replication."""

    heads: dict[str, Answer | Callable[[str], Answer]] = field(default_factory=dict)
    listing: Answer = field(default_factory=lambda: EMPTY)
    replication: dict[str, Answer] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    port: int = 0

    def answer(self, method: str, bucket: str, query: str, signed_for: str) -> Answer:
        kind = "replication" if query == "replication" else "list" if "list-type" in query else "bucket"
        self.seen.append(f"{method} {bucket} {kind} {signed_for}")
        if kind == "replication":
            return self.replication.get(bucket, NOT_REPLICATED)
        if kind == "list":
            return self.listing
        head = self.heads.get(bucket, Answer(404))
        return head(signed_for) if callable(head) else head


def handler_of(store: Store) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            host, url = self.headers["Host"].rpartition(":")[0], urlsplit(self.path)
            bucket = url.path.strip("/") or host.partition(".")[0]  # path style, or in the host's name
            scope = self.headers.get("Authorization", "////").split("/")
            answer = store.answer(self.command, bucket, url.query, scope[2])
            body = b"" if self.command == "HEAD" else answer.bytes()
            self.send_response(answer.status)
            if answer.region is not None:
                self.send_header(REGION, answer.region)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_HEAD

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def on_aws(store: Store, **settings: Any) -> RunConfig:
    url = f"http://s3.eu-west-3.amazonaws.com:{store.port}"
    return RunConfig(**{"input": "i", "output": "o", "endpoint_url": url} | settings)


def elsewhere(store: Store, **settings: Any) -> RunConfig:
    url = f"http://127.0.0.1:{store.port}"
    return RunConfig(**{"input": "i", "output": "o", "endpoint_url": url, "store_location": "eu"} | settings)


PLACES = {"input": "s3://photos/2024", "output": "s3://lake/verger"}


def check(config: RunConfig, places: dict[str, str] | None = None, stores: Stores | None = None) -> Residency:
    return guard(stores or Stores(), places or PLACES, config, written={"output"})


def refused(config: RunConfig, places: dict[str, str] | None = None, by: type[VergerError] = ResidencyError) -> str:
    stores = Stores()
    with pytest.raises(VergerError) as caught:
        check(config, places, stores)
    assert type(caught.value) is by, caught.value.line
    assert not stores.buckets, "a bucket of a refused run was connected"
    assert "not-to-be-shown" not in caught.value.line
    return caught.value.line
