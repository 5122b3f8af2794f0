"""Spark's history server, as manifests/history configures it, reads back a run's event log from a bucket."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pyspark
import pytest

from tests import history
from tests.e2e import event_log
from tests.integration.runs import finished
from tests.integration.s3 import free_port
from tests.integration.s3_runs import Place

EVENTS = "events"


@dataclass
class History:
    """A server that runs, and the event log that it reads.

    Attributes
    ----------
    port : int
    applications : list
        Its answer to ``/api/v1/applications``.
    events : list
        All events of the one application, read without Spark.
    """

    port: int
    applications: list[dict[str, Any]]
    events: list[dict[str, Any]]

    def ask(self, path: str) -> Any:
        """Its answer to a path below the application's."""
        return history.answer(self.port, f"/api/v1/applications/{self.applications[0]['id']}/{path}")

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The events of one kind."""
        return [event for event in self.events if event["Event"] == kind]


@pytest.fixture
def served(place: Place, jars: Path) -> Iterator[History]:
    """A run with an event log in its bucket, and then the server, whose keys may list the bucket and read the log."""
    code, stderr, _ = finished(place.start("--event-log", f"s3://{place.bucket}/{EVENTS}"))
    assert code == 0, stderr
    port = free_port()
    command = history.container()["args"]
    log = place.folder / "history.log"
    with log.open("w") as file:
        server = subprocess.Popen(
            command, env=environment(place, jars, port), cwd=place.folder, stdout=file, stderr=file
        )
    try:
        alive = lambda: server.poll() is None  # noqa: E731
        assert history.awaited(port, history.probe(), alive), log.read_text()[-3000:]
        applications = history.awaited(port, "/api/v1/applications", alive)
        assert applications, log.read_text()[-3000:]
        yield History(port, applications, logged(place, applications[0]["id"]))
    finally:
        server.kill()
        server.wait()


def environment(place: Place, jars: Path, port: int) -> dict[str, str]:
    """The manifest's, with keys as its Secret has them, and what the image brings: Java, Spark, and S3A's jars."""
    keys = dict(zip(history.KEYS, place.server.user(readable(place.bucket)), strict=True))
    image = {
        "PATH": os.environ["PATH"],
        "SPARK_HOME": str(Path(pyspark.__file__).parent),
        "SPARK_DAEMON_CLASSPATH": f"{jars}/*",
    }
    java = {name: os.environ[name] for name in ("JAVA_HOME",) if name in os.environ}
    return image | java | keys | history.variables(f"s3a://{place.bucket}/{EVENTS}", place.server.endpoint_url, port)


def readable(bucket: str) -> dict[str, Any]:
    """The rights that the manifest asks for, and no more."""
    arn = f"arn:aws:s3:::{bucket}"
    rights = [
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [arn]},
        {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"{arn}/{EVENTS}", f"{arn}/{EVENTS}/*"]},
    ]
    return {"Version": "2012-10-17", "Statement": rights}


def logged(place: Place, application: str) -> list[dict[str, Any]]:
    server = place.server
    store = boto3.resource(
        "s3",
        endpoint_url=server.endpoint_url,
        region_name=server.region,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
    )
    return event_log.read(store, place.bucket, EVENTS, application)


@pytest.mark.slow
def test_a_run_is_read_back_whole(served: History) -> None:
    (application,) = served.applications
    (start,) = served.of("SparkListenerApplicationStart")
    assert (application["id"], application["name"]) == (start["App ID"], start["App Name"])
    (attempt,) = application["attempts"]
    assert attempt["completed"] is True

    tasks = Counter(event["Stage ID"] for event in served.of("SparkListenerTaskEnd"))
    stages = {stage["stageId"]: stage for stage in served.ask("stages?status=complete")}
    assert {number: stage["numCompleteTasks"] for number, stage in stages.items()} == tasks
    assert sum(tasks.values()) > 0
    (driver,) = served.ask("executors")
    assert (driver["completedTasks"], driver["failedTasks"]) == (sum(tasks.values()), 0)
    assert {job["status"] for job in served.ask("jobs")} == {"SUCCEEDED"}
