"""What a bucket's owner may demand or forbid: encryption, KMS keys, archived objects, and a payer.

MinIO is behind all of it. Where it does not do what AWS does, a gateway in front of it gives AWS's answer: MinIO has no
archive, evaluates a policy on encryption for the parts of an upload too, does not say what it has denied, and demands
no checksum where objects are locked.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.runs import finished
from tests.integration.s3 import Minio
from tests.integration.s3_gateway import (
    KEY,
    USER,
    Asked,
    Refusal,
    archived,
    demanding,
    in_front_of,
    locked,
    without_right_to_the_key,
)
from tests.integration.s3_runs import COUNT, Place
from verger import cli
from verger.config import RunConfig
from verger.errors import Reason, Rejection
from verger.residency.preflight import check_access
from verger.storage.stores import Stores

pytestmark = pytest.mark.required_in_ci

Front = Callable[[Callable[[Asked], Refusal | None]], None]


@pytest.fixture
def front(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    """Puts a gateway in front of the store, for this process and those that it starts."""
    with ExitStack() as running:
        yield lambda refuse: monkeypatch.setenv(
            "AWS_ENDPOINT_URL_S3", running.enter_context(in_front_of(place.server, refuse))
        )


@pytest.fixture
def refused(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run the command in this process, without Java: the code and the one line it ends in."""
    monkeypatch.setenv("JAVA_HOME", "/nowhere")

    def run(*more: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(place.arguments(*more))
        lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("{")]
        assert len(lines) == 1
        assert (place.keys(), place.uploads()) == ([], [])
        return int(ended.value.code or 0), lines[0].replace(place.bucket, "BUCKET")

    return run


def encrypted_only(server: Minio, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a user whose writes MinIO itself denies without encryption by KMS."""
    objects = f"arn:aws:s3:::{bucket}/*"
    unencrypted = {"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}}
    statements = [
        {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]},
        {"Effect": "Allow", "Action": ["kms:*"], "Resource": ["arn:minio:kms:::*"]},
        {"Effect": "Deny", "Action": ["s3:PutObject"], "Resource": [objects], "Condition": unencrypted},
    ]
    key, secret = server.user({"Version": "2012-10-17", "Statement": statements})
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)


class TestEncryption:
    def test_a_demand_of_the_policy_is_found_and_named(
        self, place: Place, refused: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """MinIO's own policy: its answer says no more than that access is denied."""
        assert isinstance(place.server, Minio)
        encrypted_only(place.server, place.bucket, monkeypatch)
        line = "s3://BUCKET/out: the store takes what is written only with encryption aws:kms. Give --sse aws:kms."
        assert refused() == (4, f"verger: {line}")

    def test_what_python_writes_meets_the_policy(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert isinstance(place.server, Minio)
        encrypted_only(place.server, place.bucket, monkeypatch)
        key = f"arn:aws:kms:{place.server.kms_key}"
        chosen = ["--sse", "aws:kms", "--sse-kms-key-id", key, "--store-location", "eu"]
        with pytest.raises(SystemExit) as ended:
            cli.main(["sample", f"s3://{place.bucket}/out", "--photographs", "3", *chosen])
        assert ended.value.code in (0, None), capsys.readouterr().err
        assert keys_that_encrypted(place) == {key}

    def test_a_key_that_does_not_exist(self, refused: Callable[..., tuple[int, str]]) -> None:
        code, line = refused("--sse", "aws:kms", "--sse-kms-key-id", "arn:aws:kms:no-such-key")
        assert code == 4
        assert "the store cannot use the encryption key (CreateMultipartUpload, kms:KeyNotFound: " in line
        assert line.endswith("Check the key's state, its region, and --sse-kms-key-id.")

    def test_another_encryption_than_the_policy_demands(
        self, front: Front, refused: Callable[..., tuple[int, str]]
    ) -> None:
        front(demanding("aws:kms", "out/"))
        code, line = refused("--sse", "AES256")
        assert code == 4
        assert f"access denied (CreateMultipartUpload): {USER} s3:PutObject on resource:" in line
        assert line.endswith(
            "with an explicit deny in a resource-based policy. Change that resource-based policy, or meet its "
            "condition, such as encryption (--sse, --sse-kms-key-id)."
        )

    @pytest.mark.slow
    def test_a_run_writes_everything_encrypted(self, place: Place, front: Front, jars: Path) -> None:
        """The event log, which Spark writes, and what Python writes: AWS's policy passes all."""
        front(demanding("aws:kms", ""))
        assert isinstance(place.server, Minio)
        key = f"arn:aws:kms:{place.server.kms_key}"
        encryption = ["--sse", "aws:kms", "--sse-kms-key-id", key]
        events = ["--event-log", f"s3://{place.bucket}/events"]
        code, stderr, _ = finished(place.start(*encryption, *events, "--report", "--csv"), timeout=300)
        assert code == 0, stderr
        assert place.keys("events/")
        assert keys_that_encrypted(place, "out/", "events/") == {key}


def keys_that_encrypted(place: Place, *below: str) -> set[str | None]:
    """The KMS keys of all objects."""
    client = place.server.client()
    keys = [key for part in below or ("out/",) for key in place.keys(part)]
    heads = [client.head_object(Bucket=place.bucket, Key=key) for key in keys]
    assert heads
    assert {head.get("ServerSideEncryption") for head in heads} == {"aws:kms"}
    return {head.get("SSEKMSKeyId") for head in heads}


class TestKeysOfTheBucket:
    @pytest.mark.parametrize(("action", "place_of"), [("kms:Decrypt", "in/"), ("kms:GenerateDataKey", "out: ")])
    def test_the_right_to_the_key_is_named(
        self, action: str, place_of: str, front: Front, refused: Callable[..., tuple[int, str]]
    ) -> None:
        front(without_right_to_the_key(action))
        code, line = refused()
        assert code == 4
        assert line.startswith(f"verger: s3://BUCKET/{place_of}")
        assert ": access denied (" in line
        assert line.endswith(
            f"{USER} {action} on resource: {KEY} because no identity-based policy allows the {action} action. Grant "
            f"these credentials {action} on {KEY}, or use others."
        )


class TestArchive:
    @pytest.mark.slow
    def test_a_run_whose_first_photographs_are_archived_rejects_these(self, place: Place, front: Front) -> None:
        first = place.keys("in/")[:4]
        front(archived(*first))
        code, stderr, _ = finished(place.start(), timeout=300)
        assert code == 0, stderr
        (manifest,) = place.documents("manifest.json")
        assert manifest["photographs"]["rejected"] == 4
        assert manifest["rejected_by_reason"] == {"unreadable": 4}
        assert manifest["photographs"]["projected"] == COUNT - 4

    def test_the_checks_before_a_run_let_it_start(self, place: Place, front: Front) -> None:
        front(archived(*place.keys("in/")))
        config = RunConfig(input=place.input, output=place.output, store_location="eu")
        assert check_access(Stores(), {"input": place.input}, config).regions == {place.bucket: "eu-west-3"}

    def test_an_archived_photograph_is_unreadable(self, place: Place, front: Front) -> None:
        (entry, *_) = Stores().of(place.input).list(place.input)
        front(archived(entry.path.removeprefix(f"s3://{place.bucket}/")))
        with pytest.raises(Rejection) as rejected:
            Stores().of(entry.path).read_version(entry.path, entry.version)
        assert rejected.value.reason == Reason.UNREADABLE
        assert rejected.value.message == "archived (GLACIER): restore it first"


# For `Place.start`: a store at an address of this machine gets what is sent to AWS's alone.
AS_TO_AWS = """
import dataclasses
import verger.spark.s3a as s3a
import verger.storage.clients as clients
class OfAws(s3a.Bucket):
    is_aws = True
def of_aws(bucket):
    return OfAws(**{field.name: getattr(bucket, field.name) for field in dataclasses.fields(bucket)})
spark_settings, create_client = s3a.spark_settings, clients._create_client
s3a.spark_settings = lambda buckets, settings: spark_settings(map(of_aws, buckets), settings)
clients._create_client = lambda bucket, patient: create_client(of_aws(bucket), patient)
"""


class TestLock:
    @pytest.mark.slow
    def test_all_that_a_run_writes_has_a_checksum_on_aws(self, place: Place, front: Front, jars: Path) -> None:
        front(locked())
        events = ["--event-log", f"s3://{place.bucket}/events"]
        code, stderr, _ = finished(place.start(*events, inject=AS_TO_AWS), timeout=300)
        assert code == 0, stderr

    def test_what_is_locked_is_deleted_by_a_marker(self, s3_environment: Minio) -> None:
        bucket, client = f"locked-{secrets.token_hex(6)}", s3_environment.client()
        where = {"LocationConstraint": s3_environment.region}
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration=where, ObjectLockEnabledForBucket=True)
        rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
        lock = {"ObjectLockEnabled": "Enabled", "Rule": rule}
        client.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=lock)
        folder = f"s3://{bucket}/out"
        storage = Stores().of(folder)
        storage.publish_once(f"{folder}/a", b"1")
        storage.write(f"{folder}/a", b"2")
        storage.delete(folder)
        assert not storage.exists(folder)
        assert not storage.exists(f"{folder}/a")
        storage.publish_once(f"{folder}/a", b"3")
        assert [entry.size for entry in storage.list(folder)] == [1]
        assert storage.read(f"{folder}/a") == b"3"
