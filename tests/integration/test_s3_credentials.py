"""Keys from one place for boto3 and S3A, wherever they come from, and nowhere to be read afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pytest

from tests.conftest import ROOT
from tests.integration.runs import photographs
from tests.integration.runs import verger as start
from tests.integration.s3 import Minio
from tests.web import Answer, Request, Web, serving

pytestmark = pytest.mark.required_in_ci

COUNT = 12
TOKEN = "the-token-of-the-service-account"

STS = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{AccessKeyId}</AccessKeyId>
<SecretAccessKey>{SecretAccessKey}</SecretAccessKey><SessionToken>{SessionToken}</SessionToken>
<Expiration>{Expiration}</Expiration></Credentials><AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/a/b</Arn>
<AssumedRoleId>A:b</AssumedRoleId></AssumedRoleUser></AssumeRoleWithWebIdentityResult>
<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleWithWebIdentityResponse>"""

# What a cluster's submission does: settings with keys in them, and the UI. It asks its own UI for all that it shows.
ASK_THE_UI = """
import json, re, sys, urllib.request
from verger.spark.session import session
from verger.config import RunConfig
from verger.storage.stores import Stores

def shown(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()

with session(RunConfig(input="in", output="out"), Stores()) as spark:
    spark.range(1).collect()
    ui = spark.sparkContext.uiWebUrl
    application = f"{ui}/api/v1/applications/{spark.sparkContext.applicationId}"
    pages = [shown(f"{ui}/environment/"), shown(f"{application}/environment")]
print(json.dumps(pages))
"""


@dataclass
class Place:
    """A bucket with photographs, a folder with nothing else but what the test puts there, and temporary keys."""

    server: Minio
    client: Any
    folder: Path
    bucket: str
    keys: dict[str, str]
    monkeypatch: pytest.MonkeyPatch

    def run(self, *more: str, **environment: str) -> tuple[int, str]:
        """A run whose keys are in ``environment`` and nowhere else: its code and stderr."""
        for name, value in environment.items():
            self.monkeypatch.setenv(name, value)
        settings = ["--backbone", "pixels", "--input-size", "8", "--cores", "1", "--store-location", "eu"]
        places = ["--input", f"s3://{self.bucket}/in", "--output", f"s3://{self.bucket}/out"]
        process = start("run", *places, *settings, *more, cwd=self.folder)
        _, stderr = process.communicate(timeout=120)
        return process.returncode, stderr

    @property
    def events(self) -> tuple[str, str]:
        """An event log in the bucket: for it, and for nothing else, Java needs the keys too."""
        return "--event-log", f"s3://{self.bucket}/out/events"

    def left(self) -> dict[str, bytes]:
        """All that the run has left, by its name below the output."""
        names = [item["Key"] for item in self.client.list_objects_v2(Bucket=self.bucket, Prefix="out/")["Contents"]]
        read = lambda name: self.client.get_object(Bucket=self.bucket, Key=name)["Body"].read()  # noqa: E731
        return {name.removeprefix("out/"): read(name) for name in names}

    def computed(self) -> int:
        """How many photographs the run computed that is the latest now."""
        left = self.left()
        manifest = json.loads(left[json.loads(left["latest.json"])["manifest"]])
        return int(manifest["photographs"]["computed"])


@pytest.fixture
def place(s3_environment: Minio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """No keys in this process's environment, and none of this machine's."""
    bucket, client = s3_environment.bucket(), s3_environment.client()
    for path in photographs(tmp_path / "in", COUNT):
        client.upload_file(str(path), bucket, str(path.relative_to(tmp_path)))
    keys = assumed(s3_environment)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return Place(s3_environment, client, tmp_path, bucket, keys, monkeypatch)


def assumed(server: Minio) -> dict[str, str]:
    """Temporary keys, from the store's own STS."""
    access_key, secret_key = server.user("readwrite")
    client = boto3.client(
        "sts",
        endpoint_url=server.endpoint_url,
        region_name=server.region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
    )
    keys = client.assume_role(RoleArn="arn:aws:iam::123456789012:role/verger", RoleSessionName="verger")["Credentials"]
    return {**keys, "Expiration": keys["Expiration"].strftime("%Y-%m-%dT%H:%M:%SZ")}


def asked_by(web: Web) -> set[str]:
    """Python, Java: who asked the server."""
    agents = [request.headers.get("user-agent", "") for request in web.asked]
    return {"Java" if agent.startswith("aws-sdk-java/") else "Python" for agent in agents}


@pytest.mark.slow
def test_a_secret_mounted_as_a_file(place: Place) -> None:
    access_key, secret_key = place.server.user("readwrite")
    mounted = place.folder / "mounted"
    mounted.write_text(f"[orchard]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n")
    code, stderr = place.run(AWS_SHARED_CREDENTIALS_FILE=str(mounted), AWS_PROFILE="orchard")
    assert code == 0, stderr
    assert place.computed() == COUNT


@pytest.mark.slow
def test_the_role_of_a_service_account(place: Place, jars: Path) -> None:
    """IRSA: a web identity is changed for keys at STS."""
    token = place.folder / "token"
    token.write_text(TOKEN)
    with serving(lambda _: Answer(STS.format(**place.keys), kind="text/xml")) as sts:
        code, stderr = place.run(
            *place.events,
            AWS_ROLE_ARN="arn:aws:iam::123456789012:role/verger",
            AWS_WEB_IDENTITY_TOKEN_FILE=str(token),
            AWS_ENDPOINT_URL_STS=sts.url,
        )
    assert code == 0, stderr
    assert place.computed() == COUNT
    assert asked_by(sts) == {"Python", "Java"}
    assert {request.parameters["WebIdentityToken"] for request in sts.asked} == {TOKEN}


@pytest.mark.slow
def test_pod_identity(place: Place, jars: Path) -> None:
    token = place.folder / "token"
    token.write_text(TOKEN)
    names = ("AccessKeyId", "SecretAccessKey", "Expiration")
    keys = {name: place.keys[name] for name in names} | {"Token": place.keys["SessionToken"]}

    def answer(request: Request) -> Answer:
        return Answer(json.dumps(keys), 200 if request.headers.get("authorization") == TOKEN else 401)

    with serving(answer) as agent:
        code, stderr = place.run(
            *place.events,
            AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{agent.url}/v1/credentials",
            AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(token),
        )
    assert code == 0, stderr
    assert place.computed() == COUNT
    assert asked_by(agent) == {"Python", "Java"}


@pytest.mark.slow
def test_keys_that_java_cannot_find_are_enough_without_an_event_log_in_a_bucket(place: Place) -> None:
    """In the file of the first boto, which no other SDK reads."""
    access_key, secret_key = place.server.user("readwrite")
    old = place.folder / "boto"
    old.write_text(f"[Credentials]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n")
    code, stderr = place.run(BOTO_CONFIG=str(old), VERGER_JARS="/nowhere")
    assert code == 0, stderr
    assert place.computed() == COUNT


def test_with_an_event_log_in_a_bucket_such_keys_are_refused(place: Place, jars: Path) -> None:
    old = place.folder / "boto"
    old.write_text(
        "[Credentials]\naws_access_key_id = {}\naws_secret_access_key = {}\n".format(*place.server.user("readwrite"))
    )
    code, stderr = place.run(*place.events, BOTO_CONFIG=str(old))
    assert code == 4, stderr
    assert "credentials by boto-config can be used by Python, but not by Java, which writes the event log" in stderr


@pytest.mark.slow
def test_temporary_keys_are_nowhere_to_be_read(place: Place, jars: Path) -> None:
    """Neither in the most talkative log, nor in anything that the run leaves, the event log included."""
    code, stderr = place.run(
        *("--log-level", "debug"),
        *place.events,
        AWS_ACCESS_KEY_ID=place.keys["AccessKeyId"],
        AWS_SECRET_ACCESS_KEY=place.keys["SecretAccessKey"],
        AWS_SESSION_TOKEN=place.keys["SessionToken"],
    )
    assert code == 0, stderr[-2000:]
    assert "DEBUG S3AFileSystem" in stderr
    left = {name: plain(content) for name, content in place.left().items()}
    (events,) = (content for name, content in left.items() if "/events_1_" in name)
    assert b"SparkListenerEnvironmentUpdate" in events
    for name, content in [("stderr", stderr.encode()), *left.items()]:
        for kind in ("AccessKeyId", "SecretAccessKey", "SessionToken"):
            assert place.keys[kind].encode() not in content, f"{kind} in {name}"


def plain(content: bytes) -> bytes:
    """What is in a file of the event log, which is compressed."""
    if not content.startswith(b"\x28\xb5\x2f\xfd"):
        return content
    with pa.input_stream(pa.BufferReader(content), compression="zstd") as stream:
        return bytes(stream.read())


def test_a_token_that_ends_in_a_line_break(
    s3_environment: Minio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a Secret has it that was made with `echo`: no part of it is said, at the most talkative level."""
    keys = assumed(s3_environment)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", keys["SessionToken"] + "\n")
    places = ["--input", f"s3://{s3_environment.bucket()}/in", "--output", "out", "--store-location", "eu"]
    process = start("run", *places, "--log-level", "debug", cwd=tmp_path)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 4, stderr
    assert "verger: AWS_SESSION_TOKEN holds a line break at its end. Set AWS_SESSION_TOKEN without it: echo" in stderr
    secrets = [keys[kind] for kind in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
    pieces = {secret[start : start + 6] for secret in secrets for start in range(len(secret) - 5)}
    assert [piece for piece in pieces if piece in stderr] == []


@pytest.mark.slow
def test_empty_variables_beside_good_keys(place: Place) -> None:
    """Neither boto3 nor Spark, Java and Hadoop take them for values."""
    names = (
        "AWS_PROFILE",
        "AWS_CA_BUNDLE",
        "AWS_ENDPOINT_URL",
        "AWS_DEFAULT_REGION",
        "AWS_ROLE_ARN",
        "AWS_MAX_ATTEMPTS",
    )
    spark = ("SPARK_HOME", "SPARK_LOCAL_IP", "PYSPARK_PYTHON", "PYSPARK_SUBMIT_ARGS", "HADOOP_USER_NAME", "JAVA_HOME")
    code, stderr = place.run(
        **dict.fromkeys((*names, *spark, "VERGER_ENDPOINT_URL", "VERGER_REGION", "HTTPS_PROXY"), ""),
        AWS_ACCESS_KEY_ID=place.keys["AccessKeyId"],
        AWS_SECRET_ACCESS_KEY=place.keys["SecretAccessKey"],
        AWS_SESSION_TOKEN=place.keys["SessionToken"],
    )
    assert code == 0, stderr
    assert place.computed() == COUNT


def test_a_token_that_was_tampered_with(place: Place) -> None:
    code, stderr = place.run(
        AWS_ACCESS_KEY_ID=place.keys["AccessKeyId"],
        AWS_SECRET_ACCESS_KEY=place.keys["SecretAccessKey"],
        AWS_SESSION_TOKEN=place.keys["SessionToken"][:-4] + "AAAA",
    )
    assert code == 4, stderr
    assert "the session token is not valid. Check AWS_SESSION_TOKEN, or unset it." in stderr


@pytest.mark.slow
def test_keys_that_a_submitter_sets_are_not_shown(tmp_path: Path) -> None:
    """Not in Spark's UI, nor in its REST interface, nor in the event log."""
    script = tmp_path / "ask.py"
    script.write_text(ASK_THE_UI)
    (tmp_path / "events").mkdir()
    settings = {
        "spark.master": "local[1]",
        "spark.ui.port": "0",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": (tmp_path / "events").as_uri(),
        "spark.eventLog.compress": "false",
        "spark.hadoop.fs.s3a.access.key": "the-access-key",
        "spark.hadoop.fs.s3a.secret.key": "the-secret-key",
        "spark.hadoop.fs.s3a.session.token": "the-session-token",
        "spark.hadoop.fs.s3a.bucket.orchard.secret.key": "the-buckets-secret-key",
        "spark.executorEnv.AWS_SECRET_ACCESS_KEY": "the-executors-secret-key",
        "spark.executorEnv.AWS_ACCESS_KEY_ID": "the-executors-access-key",
        "spark.hadoop.fs.s3a.endpoint": "shown-since-it-is-none",
    }
    submit = [str(Path(sys.executable).with_name("spark-submit"))]
    done = subprocess.run(
        [*submit, *(part for name, value in settings.items() for part in ("--conf", f"{name}={value}")), str(script)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "job"), "PYSPARK_PYTHON": sys.executable},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    events = "".join(path.read_text() for path in (tmp_path / "events").rglob("*") if path.is_file())
    page, answer = json.loads(done.stdout.splitlines()[-1])
    assert "shown-since-it-is-none" in answer and "shown-since-it-is-none" in events
    for shown in (page, answer, events):
        assert [value for value in settings.values() if value.startswith("the-") and value in shown] == []
