"""storage/uploads: what died in the middle of an upload is found, below its own folder alone, and removed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.s3 import Server
from tests.integration.s3_runs import reach
from verger.storage import uploads
from verger.storage.stores import Stores

pytestmark = pytest.mark.required_in_ci


@pytest.fixture(params=["minio", "versity"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Server:
    served: Server = request.getfixturevalue(request.param)
    reach(served, monkeypatch)
    return served


def begin(client: Any, bucket: str, *keys: str) -> None:
    """Uploads of which one part is there."""
    for key in keys:
        upload = {"Bucket": bucket, "Key": key, "UploadId": ""}
        upload["UploadId"] = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        client.upload_part(**upload, PartNumber=1, Body=b"half of it")


def of_job(bucket: str) -> Any:
    """The client by which the job reaches a bucket."""
    stores = Stores()
    return stores.client(stores.bucket(bucket))


def begun(client: Any, bucket: str) -> list[str]:
    return sorted(upload["Key"] for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", []))


BELOW = ["out/features/pixels/run-00000/part-0.parquet", "out/runs/run/projection.csv", "out/x y%20é/part"]
ELSEWHERE = ["in/photograph.jpg", "out", "out.csv", "output/part"]


def test_stale_uploads_below_the_output_are_found_and_removed(server: Server) -> None:
    bucket, client = server.bucket(), server.client()
    client.put_object(Bucket=bucket, Key="out/latest.json", Body=b"{}")
    begin(client, bucket, *BELOW, BELOW[0], *ELSEWHERE)
    now = datetime.now(UTC)
    found = list(uploads.list_unfinished(of_job(bucket), f"s3://{bucket}/out", now + timedelta(minutes=1)))
    assert sorted(upload.path for upload in found) == sorted(f"s3://{bucket}/{key}" for key in [*BELOW, BELOW[0]])
    assert all(abs(upload.started_at - now) < timedelta(minutes=1) for upload in found)
    for upload in found:
        uploads.abort(of_job(bucket), upload)
        uploads.abort(of_job(bucket), upload)  # gone already, as where two look after one output
    assert begun(client, bucket) == sorted(ELSEWHERE)
    assert client.get_object(Bucket=bucket, Key="out/latest.json")["Body"].read() == b"{}"


def test_uploads_that_may_still_be_under_way_are_left_alone(server: Server) -> None:
    bucket, client = server.bucket(), server.client()
    begin(client, bucket, *BELOW)
    assert (
        list(uploads.list_unfinished(of_job(bucket), f"s3://{bucket}/out", datetime.now(UTC) - timedelta(hours=1)))
        == []
    )
    assert begun(client, bucket) == sorted(BELOW)


def test_an_output_may_be_a_whole_bucket(server: Server) -> None:
    bucket, client = server.bucket(), server.client()
    begin(client, bucket, *BELOW, *ELSEWHERE)
    found = uploads.list_unfinished(of_job(bucket), f"s3://{bucket}", datetime.now(UTC) + timedelta(minutes=1))
    assert len(list(found)) == len(BELOW) + len(ELSEWHERE)
