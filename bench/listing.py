"""How long the inventory of a bucket takes, and how much memory a key: against a server that only lists.

    python bench/listing.py [--keys 1000000] [--labels 100] [--latency 0.0]

The server makes its answers up, so that a million keys cost no disk; it is a process of its own, whose time does not
count. What is measured is what `verger run` does before anything else: list, sort into photographs and the rest, and
keep the table.
"""

from __future__ import annotations

import argparse
import bisect
import multiprocessing
import os
import resource
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, str(Path(__file__).parents[1] / "job"))

PAGE = 1000
ITEM = (
    "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
    '<ETag>"{:032x}"</ETag><Size>5000</Size><StorageClass>STANDARD</StorageClass></Contents>'
)


def serve(keys: int, labels: int, latency: float, port: multiprocessing.Queue[int]) -> None:
    """Answer listings of a bucket with ``keys`` photographs below as many ``labels``."""
    each = keys // labels
    names = sorted(f"photographs/label {n % labels:03d}/{n // labels:06d}.jpg" for n in range(each * labels))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            time.sleep(latency)
            body = answer(asked).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    def answer(asked: dict[str, str]) -> str:
        prefix = asked.get("prefix", "")
        after = asked.get("continuation-token") or asked.get("start-after") or ""
        first = max(bisect.bisect_left(names, prefix), bisect.bisect_right(names, after))
        if asked.get("delimiter"):
            below = {name[len(prefix) :].partition("/")[0] for name in names[first :: max(1, each // 2)]}
            folders = sorted(f"{prefix}{folder}/" for folder in below if folder)
            found = "".join(f"<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>" for folder in folders)
            return f"<ListBucketResult>{found}<IsTruncated>false</IsTruncated></ListBucketResult>"
        page = names[first : first + PAGE]
        more = first + PAGE < len(names)
        token = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>" if more else ""
        found = "".join(ITEM.format(name, number) for number, name in enumerate(page, first))
        return f"<ListBucketResult>{found}<IsTruncated>{str(more).lower()}</IsTruncated>{token}</ListBucketResult>"

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.put(server.server_address[1])
    server.serve_forever()


def main() -> None:
    """Serve, take the inventory, and say what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that the server waits before each answer")
    options = parser.parse_args()
    port: multiprocessing.Queue[int] = multiprocessing.Queue()
    server = multiprocessing.Process(
        target=serve, args=(options.keys, options.labels, options.latency, port), daemon=True
    )
    server.start()
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port.get()}",
        "AWS_REGION": "eu-west-3",
    }
    from verger.photographs import inventory
    from verger.storage.stores import Stores

    stores = Stores()
    next(iter(stores.of("s3://bucket").list("s3://bucket/photographs")))  # boto3 is loaded
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    found = inventory.take("s3://bucket/photographs", stores).photographs
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    peak = (after.ru_maxrss - before.ru_maxrss) * 1024
    print(
        f"{found.num_rows:,} keys: {seconds:.1f} s, {after.ru_utime - before.ru_utime:.1f} s of CPU, "
        f"table {found.nbytes / found.num_rows:.0f} bytes a key, at most {peak / found.num_rows:.0f} bytes a key "
        f"({peak / 1e6:.0f} MB) in all"
    )
    server.terminate()


if __name__ == "__main__":
    main()
