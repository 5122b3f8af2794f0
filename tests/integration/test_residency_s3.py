"""residency/guard: the guard before real stores, and before `verger run`."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.integration.s3 import Minio, Server, Versity
from verger.config import AccessSettings
from verger.errors import NothingToReadError, ResidencyError
from verger.residency.guard import Residency, guard
from verger.storage.stores import Stores

pytestmark = pytest.mark.required_in_ci


@pytest.fixture(params=["minio", "versity"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Server:
    """One of the two stores, in AWS's own variables."""
    store: Minio | Versity = request.getfixturevalue(request.param)
    _configure(store, monkeypatch)
    return store


def _configure(store: Server, monkeypatch: pytest.MonkeyPatch, **other: str) -> None:
    for name, value in (store.environment() | other).items():
        monkeypatch.setenv(name, value)


def admitted(bucket: str, stores: Stores | None = None) -> Residency:
    places = {"input": f"s3://{bucket}/in", "output": f"s3://{bucket}/out"}
    return guard(stores or Stores(), places, AccessSettings(store_location="eu"), written={"output"})


def test_a_declared_store_that_reports_a_region_of_the_eu_passes(server: Server) -> None:
    bucket, stores = server.bucket(), Stores()
    found = admitted(bucket, stores)
    host = f"127.0.0.1:{server.port}"
    assert found.verdict == "eu"
    assert found.evidence[0] == (
        f"s3://{bucket} at {host} reports eu-west-3; declared to be in the EU (store_location: eu)"
    )
    assert "replicated" in found.evidence[1]
    assert [(known.name, known.region) for known in stores.buckets] == [(bucket, "eu-west-3")]


def test_what_the_store_reports_counts_and_not_the_region_that_is_configured(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    _configure(server, monkeypatch, AWS_REGION="eu-north-1")
    assert admitted(bucket := server.bucket()).region(f"s3://{bucket}/in") == "eu-west-3"


def test_a_missing_bucket_is_nothing_to_read(server: Server) -> None:
    with pytest.raises(NothingToReadError, match="no bucket s3://there-is-none"):
        admitted("there-is-none")


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-2"])
def test_a_store_that_reports_a_region_outside_is_refused_although_it_is_declared(
    minios: Callable[..., Minio], monkeypatch: pytest.MonkeyPatch, region: str
) -> None:
    store = minios(region=region)
    store.client().create_bucket(Bucket="photos")
    _configure(store, monkeypatch)
    with pytest.raises(ResidencyError, match=f"reports the region {region}.*MINIO_REGION"):
        admitted("photos")


@pytest.fixture
def recording_server() -> Iterator[tuple[str, list[bytes]]]:
    """A place that answers nothing and keeps what it was sent: its URL, and that."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def listen() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    heard.append(connection.recv(65536))

        threading.Thread(target=listen, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", heard
        listening.shutdown(socket.SHUT_RDWR)


def run(tmp_path: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "job" / "main.py"), "run", *options],
        env={"PYTHONPATH": str(ROOT / "job"), "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
        | {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "not-to-be-shown"}
        | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def refusal(ran: subprocess.CompletedProcess[str]) -> str:
    """The one line for people; those for programs begin with a brace."""
    (line,) = (line for line in ran.stderr.splitlines() if not line.startswith("{"))
    return line


PLACES = ("--input", "s3://photos/in", "--output", "s3://lake/out")


def test_an_undeclared_store_is_refused_by_a_run_and_sent_nothing(
    tmp_path: Path, recording_server: tuple[str, list[bytes]]
) -> None:
    url, heard = recording_server
    ran = run(tmp_path, *PLACES, "--endpoint-url", url)
    assert ran.returncode == 5, ran.stderr
    assert refusal(ran).endswith("Give --store-location eu if the store is in the EU.")
    assert heard == []
    asked = run(tmp_path, *PLACES, "--endpoint-url", url, "--store-location", "eu")
    assert asked.returncode == 4, asked.stderr
    assert heard, "the place does not tell what it is sent"


def test_a_run_before_a_store_outside_ends_in_one_line_and_has_written_nothing(
    minios: Callable[..., Minio], tmp_path: Path
) -> None:
    store = minios(region="us-east-1")
    client = store.client()
    for bucket in ("photos", "lake"):
        client.create_bucket(Bucket=bucket)
    ran = run(tmp_path, *PLACES, "--store-location", "eu", "--event-log", "s3://lake/events", **store.environment())
    assert ran.returncode == 5, ran.stderr
    assert "s3://photos" in refusal(ran)
    assert store.secret_key not in ran.stderr
    assert client.list_objects_v2(Bucket="lake")["KeyCount"] == 0
    assert "Uploads" not in client.list_multipart_uploads(Bucket="lake")


def test_an_access_point_is_refused_by_a_run(tmp_path: Path) -> None:
    arn = "arn:aws:s3:eu-west-3:123456789012:accesspoint/photos"
    ran = run(tmp_path, "--input", arn, "--output", str(tmp_path / "out"))
    assert ran.returncode == 5, ran.stderr
    assert "not a plain bucket" in refusal(ran)
    assert not (tmp_path / "out").exists()
