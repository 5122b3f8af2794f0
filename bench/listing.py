"""How long the inventory of a bucket takes, and how much memory: against a server that only lists.

    python bench/listing.py [--keys 100000 1000000] [--labels 100] [--latency 0.0] [--ranges]

The server makes its answers up, so that a million keys cost no disk; it is a process of its own, whose time does not
count. What is measured is what `verger run` does before anything else: list, tell photographs from other files, sort
them into a file, and count their labels. Each number of keys has a process of its own, whose peak memory is told: it
should not grow with the keys.
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


def measure(ranges: bool) -> None:
    """Take the inventory, and say what it took."""
    from verger.photographs import inventory
    from verger.storage import s3
    from verger.storage.stores import Stores

    if ranges:  # as on AWS
        list_objects = s3.list_objects
        s3.list_objects = lambda *given, **_: list_objects(*given, ranges=True)
    stores = Stores()
    next(iter(stores.of("s3://bucket").list("s3://bucket/photographs")))  # boto3 is loaded
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    found = inventory.take("s3://bucket/photographs", stores).photographs
    labels = inventory.label_counts(found)
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    peak, start = after.ru_maxrss * 1024, before.ru_maxrss * 1024
    print(
        f"{found.num_rows:,} keys of {len(labels)} labels: {seconds:.1f} s, "
        f"{after.ru_utime - before.ru_utime:.1f} s of CPU, peak memory {peak / 1e6:.0f} MB, "
        f"of which the listing {(peak - start) / 1e6:.0f} MB, {(peak - start) / found.num_rows:.0f} bytes a key"
    )


def main() -> None:
    """Serve and measure, for each number of keys."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that the server waits before each answer")
    parser.add_argument("--ranges", action="store_true", help="list several ranges at once, as on AWS")
    options = parser.parse_args()
    processes = multiprocessing.get_context("spawn")
    for keys in options.keys:
        port = processes.Queue()
        served = (keys, options.labels, options.latency, port)
        server = processes.Process(target=serve, args=served, daemon=True)
        server.start()
        os.environ |= {
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port.get()}",
            "AWS_REGION": "eu-west-3",
        }
        measured = processes.Process(target=measure, args=(options.ranges,))
        measured.start()
        measured.join()
        server.terminate()


if __name__ == "__main__":
    main()
