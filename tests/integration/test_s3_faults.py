"""What keeps a run from a store ends in one line and its code, before Spark starts and with nothing written."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.runs import finished, photographs
from tests.integration.runs import verger as start
from tests.integration.s3 import Minio, free_port
from tests.web import Answer, serving
from verger import cli

pytestmark = pytest.mark.required_in_ci

NO_JVM = "/nowhere"  # as JAVA_HOME: a run that comes as far as Spark ends with another code

# The clock of the process is a day slow: of what signs requests, that is.
SLOW_CLOCK = """
import datetime
import botocore.auth
now = botocore.auth.get_current_datetime
botocore.auth.get_current_datetime = lambda *arguments, **named: now(*arguments, **named) - datetime.timedelta(days=1)
"""


@dataclass
class Place:
    """A bucket of photographs, an empty one for the output, and a run from one to the other."""

    server: Minio
    client: Any  # made of the server's own keys, before a test changes what this process finds
    source: str
    target: str
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    @property
    def input(self) -> str:
        return f"s3://{self.source}/in"

    @property
    def output(self) -> str:
        return f"s3://{self.target}/out"

    def arguments(self, *more: str) -> list[str]:
        network = ["--backbone", "pixels", "--input-size", "8"]
        return ["run", "--input", self.input, "--output", self.output, "--store-location", "eu", *network, *more]

    def environment(self, **more: str | None) -> None:
        """AWS's variables of this process; None takes one away."""
        for name, value in more.items():
            if value is None:
                self.monkeypatch.delenv(name, raising=False)
            else:
                self.monkeypatch.setenv(name, value)

    def refused(self, *more: str) -> tuple[int, str]:
        """Run the command in this process: the code and the line it ends in."""
        with pytest.raises(SystemExit) as ended:
            cli.main(self.arguments(*more))
        return self.judged(int(ended.value.code or 0), self.capsys.readouterr().err)

    def judged(self, code: int, stderr: str) -> tuple[int, str]:
        lines = [line for line in stderr.splitlines() if not line.startswith("{")]
        assert len(lines) == 1, stderr
        assert lines[0].startswith("verger: ")
        assert lines[0][-1] in ".?"
        assert os.environ.get("AWS_SECRET_ACCESS_KEY", self.server.secret_key) not in stderr
        assert '"stage": "session"' not in stderr
        assert "Contents" not in self.client.list_objects_v2(Bucket=self.target)
        assert "Uploads" not in self.client.list_multipart_uploads(Bucket=self.target)
        return code, lines[0]

    def user(self, *actions: str) -> None:
        """Be one who may do this and nothing else."""
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": ["arn:aws:s3:::*"]}
        key, secret = self.server.user({"Version": "2012-10-17", "Statement": [statement]})
        self.environment(AWS_ACCESS_KEY_ID=key, AWS_SECRET_ACCESS_KEY=secret)


def filled(client: Any, bucket: str, folder: Path) -> str:
    """Four photographs in a bucket."""
    for path in photographs(folder / "in", 4):
        client.upload_file(str(path), bucket, str(path.relative_to(folder)))
    return bucket


@pytest.fixture
def place(
    s3_environment: Minio,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Place:
    monkeypatch.setenv("JAVA_HOME", NO_JVM)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    client = s3_environment.client()
    source, target = filled(client, s3_environment.bucket(), tmp_path), s3_environment.bucket()
    return Place(s3_environment, client, source, target, monkeypatch, capsys)


class TestPlaces:
    @pytest.mark.parametrize(
        ("more", "code", "says"),
        [
            (["--input", "s3://no-such-bucket/in"], 3, "there is no bucket s3://no-such-bucket at 127.0.0.1"),
            (["--output", "s3://no-such-bucket/out"], 4, "there is no bucket s3://no-such-bucket at 127.0.0.1"),
            (["--input", "s3://UPPER_case/in"], 4, "s3://UPPER_case/in: the store does not accept this bucket name"),
            (["--input", "s3://"], 2, "s3:// names no bucket. Write s3://BUCKET/FOLDER"),
            (["--output", "s3://key:secret@bucket/out"], 2, "s3://***@bucket/out names no bucket"),
        ],
        ids=["input", "output", "odd name", "no name", "with keys"],
    )
    def test_a_bucket_that_is_not_there(self, place: Place, more: list[str], code: int, says: str) -> None:
        got, line = place.refused(*more)
        assert (got, says in line) == (code, True), line

    def test_a_folder_that_is_not_there(self, place: Place) -> None:
        code, line = place.refused("--input", place.input + "/nowhere")
        assert (code, line) == (3, f"verger: {place.input}/nowhere does not exist or is empty. Check the path.")

    def test_a_folder_without_photographs_is_refused(self, place: Place) -> None:
        place.client.put_object(Bucket=place.source, Key="notes/a.txt", Body=b"")
        code, line = place.refused("--input", f"s3://{place.source}/notes")
        assert code == 3, line


class TestRights:
    READ = ("s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation")

    @pytest.mark.parametrize(
        ("may", "asked", "lacks"),
        [
            (READ, "CreateMultipartUpload", "s3:PutObject"),
            (("s3:GetObject", "s3:PutObject"), "ListObjectsV2", "s3:ListBucket"),
            (("s3:ListBucket", "s3:PutObject"), "GetObject", "s3:GetObject"),
        ],
        ids=["write", "list", "read"],
    )
    def test_a_right_that_is_missing_is_named(self, place: Place, may: tuple[str, ...], asked: str, lacks: str) -> None:
        place.user(*may)
        code, line = place.refused()
        assert code == 4
        assert f"access denied ({asked}). The store does not say why: check that these credentials have {lacks}" in line
        assert (place.output if lacks == "s3:PutObject" else place.input) in line


class TestKeys:
    @pytest.mark.parametrize(
        ("keys", "code", "says"),
        [
            ({"AWS_ACCESS_KEY_ID": "AKIAUNKNOWN"}, 4, "the store does not know this access key"),
            ({"AWS_SECRET_ACCESS_KEY": "not-the-right-one"}, 4, "the secret key does not belong to the access key"),
            ({"AWS_SESSION_TOKEN": "not-a-token"}, 4, "the session token is not valid. Check AWS_SESSION_TOKEN"),
            (
                {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
                4,
                "no usable credentials (Unable to locate credentials). Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ),
            ({"AWS_SECRET_ACCESS_KEY": None}, 4, "missing: AWS_SECRET_ACCESS_KEY). Set AWS_ACCESS_KEY_ID and"),
            ({"AWS_ACCESS_KEY_ID": None}, 4, "no usable credentials (Unable to locate credentials)"),
            ({"AWS_PROFILE": "nobody"}, 2, "The config profile (nobody) could not be found"),
        ],
        ids=["unknown key", "wrong secret", "no token", "none", "no secret", "no id", "no profile"],
    )
    def test_wrong_or_missing_keys_are_refused(
        self, place: Place, keys: dict[str, str | None], code: int, says: str
    ) -> None:
        place.environment(**keys)
        got, line = place.refused()
        assert (got, says in line) == (code, True), line

    def test_an_expired_token(self, place: Place) -> None:
        expired = "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
        with serving(lambda _: Answer(expired, 400)) as web:
            place.environment(AWS_ENDPOINT_URL_S3=web.url)
            code, line = place.refused()
        assert code == 4
        assert "the session token has expired. Get new credentials and run again" in line


class TestEndpoints:
    def test_nothing_listens(self, place: Place) -> None:
        port = free_port()
        code, line = place.refused("--endpoint-url", f"http://127.0.0.1:{port}")
        assert code == 4
        assert f"the store at 127.0.0.1:{port} cannot be reached (Connection refused). Check --endpoint-url" in line

    def test_no_such_host(self, place: Place) -> None:
        code, line = place.refused("--endpoint-url", "http://store.invalid:9000")
        assert code == 4
        assert "the store at store.invalid:9000 cannot be reached (" in line

    @pytest.mark.parametrize(
        ("page", "code", "says"),
        [
            (Answer("<html><body/></html>", kind="text/html"), 4, "is no S3 store, or a broken one"),
            (Answer("<html><p>Welcome<br></html>", kind="text/html"), 4, "is no S3 store, or a broken one"),
            (Answer("<h1>Not found", 404, "text/html"), 3, "there is no bucket s3://"),
            (Answer("<h1>Moved", 301, "text/html"), 4, "the endpoint only redirects requests"),
        ],
        ids=["well-formed", "HTML", "404", "redirect"],
    )
    def test_a_web_server(self, place: Place, page: Answer, code: int, says: str) -> None:
        with serving(lambda _: page) as web:
            got, line = place.refused("--endpoint-url", web.url)
        assert (got, says in line) == (code, True), line

    @pytest.mark.parametrize("given", ["option", "environment"])
    def test_a_password_in_the_endpoint_is_refused_and_not_repeated(self, place: Place, given: str) -> None:
        url = f"http://me:a-password@127.0.0.1:{place.server.port}"
        if given == "environment":
            place.environment(AWS_ENDPOINT_URL_S3=url)
        code, line = place.refused(*(["--endpoint-url", url] if given == "option" else []))
        assert code == 2
        assert "of the form http://HOST:PORT or https://HOST" in line
        assert "a-password" not in line


class TestTls:
    @pytest.fixture
    def secured(self, place: Place, minios: Callable[..., Minio], tmp_path: Path) -> Place:
        place.server = minios(tls=True)
        place.client = place.server.client()
        place.source, place.target = filled(place.client, place.server.bucket(), tmp_path), place.server.bucket()
        place.environment(**place.server.environment())
        return place

    def test_refused(self, secured: Place, tmp_path: Path) -> None:
        code, line = secured.refused()
        assert code == 4
        assert "the store's certificate is not trusted (certificate verify failed: " in line
        assert "Give the certificate of the authority that signed it: --ca-bundle FILE.pem or AWS_CA_BUNDLE." in line
        (tmp_path / "notes.txt").write_text("no certificate")
        for bundle in ("nowhere.pem", str(tmp_path / "notes.txt")):
            code, line = secured.refused("--ca-bundle", bundle)
            expected = f"verger: no certificates at {bundle}. Check --ca-bundle and AWS_CA_BUNDLE."
            assert (code, line) == (2, expected)
        code, line = secured.refused("--endpoint-url", secured.server.endpoint_url.replace("https:", "http:"))
        assert code == 4
        assert "Check --endpoint-url, http: or https: included" in line

    def test_https_to_a_store_without_tls_is_refused(self, place: Place) -> None:
        code, line = place.refused("--endpoint-url", place.server.endpoint_url.replace("http:", "https:"))
        assert code == 4
        assert "the endpoint does not use TLS (wrong version number). Check --endpoint-url: http: or https:." in line

    @pytest.mark.slow
    def test_a_run_with_the_ca_bundle_succeeds_in_python_and_spark(self, secured: Place, tmp_path: Path) -> None:
        secured.environment(JAVA_HOME=None)
        process = start(*secured.arguments("--cores", "2", "--ca-bundle", str(secured.server.ca)), cwd=tmp_path)
        code, stderr, lines = finished(process)
        assert code == 0, stderr
        assert lines[-1]["event"] == "done"
        assert "Warning" not in stderr


class TestProcesses:
    """What only a process of its own shows: its clock, and that it waits for nobody."""

    def test_a_clock_that_is_wrong(self, place: Place, tmp_path: Path) -> None:
        process = start(*place.arguments(), inject=SLOW_CLOCK, cwd=tmp_path)
        code, line = place.judged(*finished(process)[:2])
        assert code == 4
        assert "this machine's clock differs too much from the store's. Set the clock." in line

    def test_a_store_that_does_not_answer(self, place: Place, own_minio: Minio, tmp_path: Path) -> None:
        place.environment(**own_minio.environment())
        own_minio.pause()
        process = start(*place.arguments(), cwd=tmp_path)
        code, line = place.judged(*finished(process, timeout=60)[:2])
        own_minio.resume()
        assert code == 4
        assert f"the store at 127.0.0.1:{own_minio.port} cannot be reached (no answer in time)" in line

    def test_a_host_that_is_not_there(self, place: Place, tmp_path: Path) -> None:
        """Its connections are neither taken nor refused: a queue that is full drops them."""
        with socket.create_server(("127.0.0.1", 0), backlog=0) as server, socket.socket() as waiting:
            waiting.connect(server.getsockname())
            endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
            process = start(*place.arguments("--endpoint-url", endpoint), cwd=tmp_path)
            code, line = place.judged(*finished(process, timeout=60)[:2])
        assert code == 4
        assert "cannot be reached (no answer in time)" in line


class TestJars:
    def test_an_event_log_on_s3_without_jars_is_refused(self, place: Place, tmp_path: Path) -> None:
        place.environment(VERGER_JARS=str(tmp_path))
        code, line = place.refused("--event-log", f"s3://{place.target}/events")
        assert code == 2
        assert (
            f"Spark lacks the jars with which it writes its event log to S3: none is in {tmp_path}. Fetch the jars with"
            in line
        )

    @pytest.mark.parametrize("events", ["none", "local"])
    def test_otherwise_no_jars_are_needed(self, place: Place, tmp_path: Path, events: str) -> None:
        place.environment(VERGER_JARS=str(tmp_path))
        with pytest.raises(SystemExit):
            cli.main(place.arguments(*(["--event-log", str(tmp_path)] if events == "local" else [])))
        assert "verger: Spark needs Java" in place.capsys.readouterr().err  # it came as far as that

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("missing", "named"),
        [
            ("hadoop-aws", "org.apache.hadoop.fs.s3a.S3AFileSystem"),
            ("analyticsaccelerator", "software/amazon/s3/analyticsaccelerator/"),
        ],
    )
    def test_of_jars_of_which_one_is_missing_a_class_is_named_and_nothing_is_written(
        self, place: Place, jars: Path, tmp_path: Path, missing: str, named: str
    ) -> None:
        (tmp_path / "jars").mkdir()
        (tmp_path / "jars" / "hadoop-aws-broken.jar").touch()
        for jar in jars.glob("*.jar"):
            if not jar.name.startswith(missing):
                (tmp_path / "jars" / jar.name).symlink_to(jar)
        place.environment(VERGER_JARS=str(tmp_path / "jars"), JAVA_HOME=None)
        code, stderr, _ = finished(
            start(*place.arguments("--cores", "1", "--event-log", f"s3://{place.target}/events"), cwd=tmp_path)
        )
        assert code == 2, stderr
        (line,) = [line for line in stderr.splitlines() if not line.startswith("{")]
        assert f"Spark cannot write its event log to S3: the class {named}" in line
        assert "cannot be loaded. Fetch the jars with `make jars`" in line
        listed: dict[str, Any] = place.client.list_objects_v2(Bucket=place.target)
        assert not [item["Key"] for item in listed.get("Contents", []) if item["Key"].endswith(".parquet")]
