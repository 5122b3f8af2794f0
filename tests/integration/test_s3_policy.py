"""What manifests/aws grants is what a run needs, and no more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.session import get_session
from botocore.validate import validate_parameters

from tests.conftest import ROOT
from tests.integration.runs import finished, photograph, verger
from tests.integration.s3 import Minio

pytestmark = pytest.mark.required_in_ci

AWS = ROOT / "manifests" / "aws"


def filled_in(manifest: str, **names: str) -> str:
    """A manifest with one's own names, as its README says to put them in."""
    text = (AWS / manifest).read_text()
    for placeholder, name in names.items():
        text = text.replace(placeholder, name)
    return text


@pytest.mark.slow
def test_a_run_needs_no_more_than_the_policy_grants(
    s3_environment: Minio, jars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = s3_environment
    names = {"PHOTOGRAPHS": store.bucket(), "RESULTS": store.bucket(), "PREFIX": "fruit/table"}
    client = store.client()
    for number in range(6):
        body = photograph(tmp_path / f"{number}.png", number).read_bytes()
        client.put_object(Bucket=names["PHOTOGRAPHS"], Key=f"apple {number % 2}/{number}.png", Body=body)
    access_key, secret_key = store.user(json.loads(filled_in("policy.json", **names)))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret_key)
    places = ["--input", f"s3://{names['PHOTOGRAPHS']}", "--output", f"s3://{names['RESULTS']}/fruit/table"]
    settings = ["--store-location", "eu", "--backbone", "pixels", "--input-size", "8", "--cores", "1"]

    code, stderr, _ = finished(verger("run", *places, *settings, cwd=tmp_path))
    assert code == 0, stderr

    def kept(name: str) -> Any:
        return json.loads(client.get_object(Bucket=names["RESULTS"], Key=f"fruit/table/{name}")["Body"].read())

    manifest = kept(kept("latest.json")["manifest"])
    assert manifest["photographs"]["computed"] == 6
    assert client.list_multipart_uploads(Bucket=names["RESULTS"]).get("Uploads", []) == []

    granted = store.client(access_key, secret_key)
    for bucket, key in ((names["PHOTOGRAPHS"], "apple 0/0.png"), (names["RESULTS"], "fruit/another")):
        with pytest.raises(ClientError, match="AccessDenied"):
            granted.put_object(Bucket=bucket, Key=key, Body=b"")


def test_s3_would_take_the_lifecycle_rule() -> None:
    # No server here does: MinIO refuses the action, versitygw has no lifecycle.
    rule = json.loads(filled_in("lifecycle.json", PREFIX="fruit/table"))
    takes = get_session().get_service_model("s3").operation_model("PutBucketLifecycleConfiguration").input_shape
    validate_parameters({"Bucket": "results", "LifecycleConfiguration": rule}, takes)
    (only,) = rule["Rules"]
    assert only["Filter"] == {"Prefix": "fruit/table/"}
    assert only["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}
