"""A long run in an S3 server with latency, photographs and output both in it, beside the network alone, in turns.

    python bench/object_store.py [--latency 0.02] [--repeat 3] [--quick] [--json FILE]

The server is versitygw or MinIO, whichever is on the PATH, on this machine, behind `delay.py`. Server and proxy compute
on the same cores as the run. Where there is no server, the figures say so.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inputs import PLAIN, in_turns, lay_photographs, many, median, parse, parser, tell
from network_alone import folded_alone
from processes import ROOT, children_of, cpu_seconds
from runs import features_stage, summary, verger_run

sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from tests.integration.s3 import Server

HERE = Path(__file__).parent


def reason_to_skip() -> str:
    """Why there is nothing to measure here; empty where there is."""
    if not (shutil.which("versitygw") or shutil.which("minio")):
        return "no versitygw and no MinIO on the PATH: `make programs` builds them"
    return ""


def server_in(folder: Path) -> Server:
    """The S3 server that the tests use too, with all that it keeps in a folder."""
    from tests.integration.s3 import Minio, Versity

    return Versity(folder) if shutil.which("versitygw") else Minio(folder)


@contextmanager
def delayed(port: int, latency: float) -> Iterator[str]:
    """The endpoint of a proxy in front of a server on this machine."""
    command = [sys.executable, str(HERE / "delay.py"), "--to", f"127.0.0.1:{port}", "--delay", str(latency)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


def upload(server: Server, bucket: str, folder: Path) -> None:
    """Put all photographs of a folder into a bucket, past the proxy."""
    client = server.client()
    files = [file for file in folder.rglob("*") if file.is_file()]
    with ThreadPoolExecutor(8) as pool:
        keys = [(file, f"photographs/{file.relative_to(folder)}") for file in files]
        list(pool.map(lambda pair: client.upload_file(str(pair[0]), bucket, pair[1]), keys))


def run(server: Server, endpoint: str, source: str, options: argparse.Namespace) -> dict[str, Any]:
    """A run from bucket to bucket, into a new place."""
    output = f"{source.rpartition('/')[0]}/out-{secrets.token_hex(4)}"
    beside = children_of(os.getpid())  # server and proxy; a run's own processes begin and end below
    before = sum(map(cpu_seconds, beside))
    more = ["--weights", options.weights, "--store-location", "eu", "--endpoint-url", endpoint, *PLAIN]
    reached = server.environment() | {"AWS_ENDPOINT_URL_S3": endpoint}
    done = verger_run(source, output, *more, environment=reached)
    stages = {"features": features_stage(done["events"])["seconds"]}
    return {
        "seconds": done["seconds"],
        "memory": done["memory"],
        "stages_s": stages,
        "features": features_stage(done["events"]),
        "server_and_proxy_cpu_s": sum(map(cpu_seconds, beside)) - before,
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The runs, in turns with the network alone."""
    count = many(options.quick)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        source = lay_photographs(folder / "in", count)
        with server_in(folder / "server") as server, delayed(server.port, options.latency) as endpoint:
            bucket = server.bucket()
            upload(server, bucket, folder / "in")
            seconds = 1.0 if options.quick else 8.0
            found = in_turns(
                {
                    "alone": lambda: folded_alone(folder / "alone", options.weights, seconds),
                    "run": lambda: run(server, endpoint, f"s3://{bucket}/photographs", options),
                },
                options.repeat,
            )
    return {
        "server": server.program,
        "latency_s": options.latency,
        "photographs": count,
        "source": source,
        "alone_photographs_per_s": median(found["alone"], 1),
        "alone_turns": [round(rate, 1) for rate in found["alone"]],
        "run": summary(found["run"]),
        "server_and_proxy_ms": median([1000 * turn["server_and_proxy_cpu_s"] / count for turn in found["run"]]),
    }


def main() -> None:
    """Measure, or say why not."""
    made = parser(__doc__)
    made.add_argument("--latency", type=float, default=0.02, help="seconds that each request takes longer")
    options = parse(made)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    missing = reason_to_skip()
    tell({"skipped": missing} if missing else measure(options), options.json)


if __name__ == "__main__":
    main()
