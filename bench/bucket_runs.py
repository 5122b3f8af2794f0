"""How long a run takes over photographs in a local S3 server when nothing has changed, beside starting a session.

    python bench/bucket_runs.py [--photographs FOLDER] [--repeat 3]

In turns, told as medians: a SparkSession that is started and stopped, and `verger run` whose input and output are in
a MinIO on this machine, after a first run. By default the photographs are those of VERGER_TEST_DATA, or a thousand
that are drawn. It needs minio on the PATH (`make programs`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "job"))

from inputs import fruits
from processes import MAIN, timed
from scale import session

from tests.integration.s3 import Minio
from verger.photographs import synthetic


def upload(server: Minio, bucket: str, folder: Path) -> int:
    """Copy a folder of photographs into a bucket, and count them."""
    client = server.client()
    files = [path for path in folder.rglob("*") if path.is_file()]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda path: client.upload_file(str(path), bucket, f"in/{path.relative_to(folder)}"), files))
    return len(files)


def measure(folder: Path, photographs: Path, repeat: int) -> dict[str, float]:
    """Median seconds of both."""
    with Minio(folder / "server") as server:
        bucket = server.bucket()
        count = upload(server, bucket, photographs)
        environment = server.environment() | {"VERGER_STORE_LOCATION": "eu"}
        command = [sys.executable, str(MAIN), "run", "--input", f"s3://{bucket}/in", "--output", f"s3://{bucket}/out"]
        timed(command, **environment)
        sessions, unchanged = [], []
        for _ in range(repeat):
            sessions.append(session()["seconds"])
            unchanged.append(timed(command, **environment)["seconds"])
    return {
        "photographs": count,
        "session_s": round(statistics.median(sessions), 2),
        "unchanged_s": round(statistics.median(unchanged), 2),
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, default=fruits())
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("AWS_")]:  # the server has its own
        del os.environ[name]
    with tempfile.TemporaryDirectory() as folder:
        photographs = options.photographs or Path(folder) / "drawn"
        if options.photographs is None:
            synthetic.draw(str(photographs), 1_000, seed=3)
        print(json.dumps(measure(Path(folder), photographs, options.repeat)))


if __name__ == "__main__":
    main()
