"""The S3 servers that other tests lean on: they serve, they tell users apart, and they end."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError, SSLError

from tests.conftest import ROOT
from tests.integration.s3 import Minio, Server, Versity

pytestmark = pytest.mark.required_in_ci


@pytest.fixture(params=["minio", "versity"])
def server(request: pytest.FixtureRequest) -> Server:
    served: Server = request.getfixturevalue(request.param)
    return served


def test_a_server_keeps_objects_in_its_region(server: Server) -> None:
    bucket, client = server.bucket(), server.client()
    client.put_object(Bucket=bucket, Key="a b/ü.png", Body=b"seen")
    assert client.get_object(Bucket=bucket, Key="a b/ü.png")["Body"].read() == b"seen"
    assert client.head_bucket(Bucket=bucket)["BucketRegion"] == server.region == "eu-west-3"
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Bucket=bucket, Key="a b/ü.png", Body=b"", IfNoneMatch="*")


def test_versity_alone_lists_uploads_by_prefix(minio: Minio, versity: Versity) -> None:
    found = {}
    for server in (minio, versity):
        bucket, client = server.bucket(), server.client()
        client.create_multipart_upload(Bucket=bucket, Key="out/part")
        for prefix in ("", "out/"):
            uploads = client.list_multipart_uploads(Bucket=bucket, Prefix=prefix).get("Uploads", [])
            found[server.program, prefix] = [upload["Key"] for upload in uploads]
    part = ["out/part"]
    assert found == {
        ("minio", ""): part,
        ("minio", "out/"): [],
        ("versitygw", ""): part,
        ("versitygw", "out/"): part,
    }


def test_the_environment_leads_to_the_server(s3_environment: Minio) -> None:
    bucket = s3_environment.bucket()
    assert bucket in [found["Name"] for found in boto3.client("s3").list_buckets()["Buckets"]]


def test_a_user_may_do_what_its_policy_says(minio: Minio) -> None:
    bucket = minio.bucket()
    minio.client().put_object(Bucket=bucket, Key="seen", Body=b"seen")
    list_only = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [f"arn:aws:s3:::{bucket}"]}],
    }
    lists, reads = minio.client(*minio.user(list_only)), minio.client(*minio.user("readonly"))
    assert lists.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    assert reads.get_object(Bucket=bucket, Key="seen")["Body"].read() == b"seen"
    for refused in (lists.get_object, lists.delete_object, reads.delete_object):
        with pytest.raises(ClientError, match="AccessDenied"):
            refused(Bucket=bucket, Key="seen")


def test_objects_survive_a_killed_server(own_minio: Minio) -> None:
    bucket = own_minio.bucket()
    own_minio.client().put_object(Bucket=bucket, Key="seen", Body=b"seen")
    own_minio.stop()
    with pytest.raises(BotoCoreError):
        own_minio.client(attempts=1).list_buckets()
    own_minio.start()
    assert own_minio.client().get_object(Bucket=bucket, Key="seen")["Body"].read() == b"seen"


def test_a_server_of_tls_is_known_by_its_private_authority_alone(minios: Callable[..., Minio]) -> None:
    server = minios(tls=True, region="eu-north-1")
    access_key, secret_key = server.user("readwrite")
    assert server.client(access_key, secret_key).list_buckets()["Buckets"] == []
    with pytest.raises(SSLError):
        boto3.client("s3", endpoint_url=server.endpoint_url, region_name=server.region).list_buckets()


def test_versity_serves_tls(tmp_path: Path) -> None:
    with Versity(tmp_path, tls=True) as server:
        assert server.client().list_buckets()["Buckets"] == []


def test_a_server_ends_with_the_process_that_started_it(minio: Minio, tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from tests.integration.s3 import Minio\n"
        "server = Minio(Path(sys.argv[1])); server.start()\n"
        "print(server._process.pid, flush=True); time.sleep(600)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        watched = os.pidfd_open(server)
        parent.send_signal(signal.SIGKILL)
    assert ended(watched)


def ended(pidfd: int) -> bool:
    readable, _, _ = select.select([pidfd], [], [], 30)
    os.close(pidfd)
    return bool(readable)
