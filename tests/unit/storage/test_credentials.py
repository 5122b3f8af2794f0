"""storage/credentials: where keys, endpoint and region come from, and what a store's refusals mean."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme
from botocore import exceptions as failures

from tests.web import Answer, Request, serving
from verger.config import RunConfig
from verger.errors import NothingToReadError, StoreError, UsageError, VergerError
from verger.storage import credentials, refusals
from verger.storage.buckets import Bucket, is_aws
from verger.storage.stores import Stores

pytestmark = pytest.mark.required_in_ci

SECRET = "not-to-be-shown"
WHERE = "s3://orchard/photographs"


@pytest.fixture(autouse=True)
def environment(example_keys: None) -> None:
    """Nothing but a pair of keys."""


@pytest.fixture
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")


def settings(**more: object) -> RunConfig:
    return RunConfig.model_validate({"input": "in", "output": "out", **more})


class TestEndpoint:
    # From the least to the one that wins over all.
    PLACES = ("profile", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "--endpoint-url")

    @pytest.mark.parametrize("last", range(4), ids=PLACES)
    def test_the_most_specific_setting_wins(self, last: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        given = self.PLACES[: last + 1]
        (tmp_path / "config").write_text("[default]\nendpoint_url = http://profile:9000\n")
        for name in given:
            if name.startswith("AWS_"):
                monkeypatch.setenv(name, f"http://{name.lower().replace('_', '-')}:9000/")
        config = settings(endpoint_url="https://option:9000" if "--endpoint-url" in given else None)
        expected = ["http://profile:9000", "http://aws-endpoint-url:9000", "http://aws-endpoint-url-s3:9000"]
        assert credentials.resolve("b", config).endpoint_url == [*expected, "https://option:9000"][last]

    def test_the_default_is_aws(self) -> None:
        bucket = credentials.resolve("b", settings(region="eu-west-3"))
        assert bucket == Bucket("b", "eu-west-3", endpoint_url=None, path_style=False)
        assert bucket.is_aws

    @pytest.mark.parametrize("url", ["127.0.0.1:9000", f"http://me:{SECRET}@store:9000", "http://store:9000/s3"])
    def test_an_invalid_endpoint_is_refused_and_not_repeated(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        with pytest.raises(UsageError, match="Correct AWS_ENDPOINT_URL_S3") as refused:
            credentials.resolve("b")
        assert url not in refused.value.line
        assert SECRET not in refused.value.line

    def test_path_style_is_the_default_for_every_store_but_aws(self) -> None:
        store = "http://store:9000"
        assert credentials.resolve("b", settings(endpoint_url=store)).path_style
        assert not credentials.resolve("b", settings(endpoint_url=store, path_style=False)).path_style
        assert not credentials.resolve("b", settings()).path_style
        assert credentials.resolve("b", settings(path_style=True)).path_style

    @pytest.mark.parametrize(
        ("url", "theirs"),
        [
            (None, True),
            ("https://s3.eu-west-3.amazonaws.com", True),
            ("https://s3.eusc-de-east-1.amazonaws.eu", True),
            ("https://s3.cn-north-1.amazonaws.com.cn.", True),
            ("http://127.0.0.1:9000", False),
            ("https://amazonaws.com.example.org", False),
            ("https://notamazonaws.com", False),
        ],
    )
    def test_is_aws_by_host_name(self, url: str | None, theirs: bool) -> None:
        assert is_aws(url) is theirs


class TestRegion:
    def test_the_setting_wins_over_the_variable_and_that_over_the_profile(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert credentials.resolve("b", settings()).region is None
        (tmp_path / "config").write_text("[default]\nregion = eu-north-1\n")
        assert credentials.resolve("b", settings()).region == "eu-north-1"
        monkeypatch.setenv("AWS_REGION", "eu-west-3")
        assert credentials.resolve("b", settings()).region == "eu-west-3"
        assert credentials.resolve("b", settings(region="eu-west-1")).region == "eu-west-1"

    @pytest.mark.parametrize("name", ["AWS_REGION", "AWS_PROFILE"])
    def test_a_missing_profile_or_region_is_a_usage_error(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(name, "no such one")
        with pytest.raises(UsageError, match="no such one"):
            credentials.resolve("b")


class TestCertificates:
    @pytest.fixture
    def bundle(self, tmp_path: Path) -> str:
        trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
        return str(tmp_path / "ca.pem")

    def test_the_setting_wins_over_the_variable(self, bundle: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_CA_BUNDLE", bundle)
        assert credentials.resolve("b", settings(endpoint_url="https://store:9000")).ca_bundle == bundle
        with pytest.raises(UsageError, match="no certificates at nowhere.pem"):
            credentials.resolve("b", settings(endpoint_url="https://store:9000", ca_bundle="nowhere.pem"))

    def test_http_needs_no_certificates(self, bundle: str) -> None:
        config = settings(endpoint_url="http://store:9000", ca_bundle=bundle)
        assert credentials.resolve("b", config).ca_bundle is None

    def test_a_file_without_certificates_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("no certificate")
        config = settings(endpoint_url="https://store:9000", ca_bundle=str(tmp_path / "notes.txt"))
        with pytest.raises(UsageError, match=r"no certificates at .*notes\.txt"):
            credentials.resolve("b", config)


def provider() -> str:
    package, _, name = credentials.java_provider().rpartition(".")
    assert package == "software.amazon.awssdk.auth.credentials"
    return name


class TestJavaProvider:
    def test_environment(self) -> None:
        assert provider() == "EnvironmentVariableCredentialsProvider"

    def test_shared_credentials_file(self, no_keys: None, tmp_path: Path) -> None:
        (tmp_path / "credentials").write_text(f"[default]\naws_access_key_id = a\naws_secret_access_key = {SECRET}\n")
        assert provider() == "ProfileCredentialsProvider"

    def test_program_of_a_profile(self, no_keys: None, tmp_path: Path) -> None:
        keys = json.dumps({"Version": 1, "AccessKeyId": "a", "SecretAccessKey": SECRET})
        (tmp_path / "keys").write_text(keys)
        (tmp_path / "config").write_text(f"[default]\ncredential_process = cat {tmp_path / 'keys'}\n")
        assert provider() == "ProfileCredentialsProvider"

    def test_web_identity(self, no_keys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/verger")
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
        assert provider() == "WebIdentityTokenFileCredentialsProvider"

    def test_web_identity_of_a_profile(self, no_keys: None, tmp_path: Path) -> None:
        role = "role_arn = arn:aws:iam::123456789012:role/verger"
        (tmp_path / "config").write_text(f"[default]\n{role}\nweb_identity_token_file = {tmp_path / 'token'}\n")
        assert provider() == "ProfileCredentialsProvider"

    def test_pod_identity(self, no_keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
        with serving(lambda _: keys_as_json()) as web:
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{web.url}/v1/credentials")
            assert provider() == "ContainerCredentialsProvider"

    def test_role_of_the_node(self, no_keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
        def answer(request: Request) -> Answer:
            if request.path.endswith("/security-credentials/orchard"):
                return keys_as_json(Code="Success")
            return Answer("orchard", kind="text/plain")  # the token, and the role's name

        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        with serving(answer) as web:
            monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", web.url)
            assert provider() == "InstanceProfileCredentialsProvider"

    def test_keys_that_the_jvm_cannot_find_are_refused(self, no_keys: None, tmp_path: Path) -> None:
        fields = (
            "start_url = https://orchard.awsapps.eu/start",
            "region = eu-west-3",
            "account_id = 1",
            "role_name = a",
        )
        (tmp_path / "config").write_text("\n".join(["[default]", *(f"sso_{field}" for field in fields)]))
        with pytest.raises(
            StoreError, match="credentials by sso can be used by Python, but not by Java, .* Export them"
        ):
            provider()

    @pytest.mark.parametrize(
        ("missing", "words"),
        [
            (["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], "none were found"),
            (["AWS_SECRET_ACCESS_KEY"], "missing: AWS_SECRET_ACCESS_KEY"),
        ],
        ids=["none", "half"],
    )
    def test_the_error_for_missing_keys_says_which_to_set(
        self, missing: list[str], words: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in missing:
            monkeypatch.delenv(name)
        with pytest.raises(StoreError, match=f"no usable credentials .*{words}.*Set AWS_ACCESS_KEY_ID"):
            provider()


def keys_as_json(**more: str) -> Answer:
    keys = {"AccessKeyId": "a", "SecretAccessKey": SECRET, "Token": SECRET, "Expiration": "2100-01-01T00:00:00Z"}
    return Answer(json.dumps(keys | more), kind="application/json")


def refused(endpoint: str, ask: str = "list_objects_v2", **more: object) -> VergerError:
    """What a request ends in."""
    bucket = Bucket("orchard", "eu-west-3", endpoint, path_style=True)
    with pytest.raises(VergerError) as caught, refusals.translate_errors(WHERE):
        getattr(Stores().client(bucket, patient=False), ask)(Bucket="orchard", **more)
    assert SECRET not in caught.value.line
    return caught.value


# The store's code -> its HTTP status, the error's class, and the start of the message.
REFUSED = {
    "InvalidAccessKeyId": (403, StoreError, "the store does not know this access key. Check AWS_ACCESS_KEY_ID"),
    "InvalidClientTokenId": (403, StoreError, "the store does not know this access key"),
    "SignatureDoesNotMatch": (403, StoreError, "the secret key does not belong to the access key"),
    "ExpiredToken": (400, StoreError, "the session token has expired. Get new credentials and run again"),
    "ExpiredTokenException": (400, StoreError, "the session token has expired"),
    "TokenRefreshRequired": (400, StoreError, "the session token has expired"),
    "InvalidToken": (400, StoreError, "the session token is not valid. Check AWS_SESSION_TOKEN"),
    "InvalidTokenId": (403, StoreError, "the session token is not valid"),
    "RequestTimeTooSkewed": (403, StoreError, "this machine's clock differs too much from the store's. Set the clock"),
    "AccessDenied": (403, StoreError, "access denied (ListObjectsV2): said so. Check that these credentials have s3:"),
    "InvalidObjectState": (403, StoreError, "archived, and so cannot be read (storage class GLACIER or the like)"),
    "InternalError": (400, StoreError, "the store has an internal error. Run again later"),
    "KMS.DisabledException": (400, StoreError, "the store cannot use the encryption key (ListObjectsV2, KMS.Disabled"),
    "kms:KeyNotFound": (404, StoreError, "the store cannot use the encryption key (ListObjectsV2, kms:KeyNotFound"),
    "AllAccessDisabled": (403, StoreError, "all access to it is disabled, by AWS. Ask the bucket's owner, or AWS's"),
    "Forbidden": (403, StoreError, "access denied (ListObjectsV2)"),
    "NoSuchBucket": (404, NothingToReadError, "there is no such bucket. Check the name and the endpoint"),
    "InvalidBucketName": (400, StoreError, "the store does not accept this bucket name. Check the URI"),
    "SlowDown": (503, StoreError, "the store is overloaded. Run again later"),
    "ServiceUnavailable": (503, StoreError, "the store is not available. Run again later"),
    "XMinioStorageFull": (507, StoreError, "the store is full. Free some space there"),
    "NotImplemented": (501, StoreError, "the store lacks something that Verger needs"),
    "PermanentRedirect": (301, StoreError, "the bucket is in another region. Leave --region out"),
    "AuthorizationHeaderMalformed": (400, StoreError, "the bucket is in another region"),
    "OddError": (418, StoreError, "the store answers ListObjectsV2 with OddError: said so."),
}


class TestRefusals:
    @pytest.mark.parametrize("code", REFUSED)
    def test_each_error_code_has_its_own_message(self, code: str) -> None:
        status, kind, words = REFUSED[code]
        body = f"<Error><Code>{code}</Code><Message>said so</Message></Error>"
        with serving(lambda request: Answer(body, status if request.method == "GET" else 400)) as web:
            error = refused(web.url)
        assert type(error) is kind
        assert error.line.startswith(f"{WHERE}: {words}")

    @pytest.mark.parametrize(
        ("status", "kind", "words"),
        [
            (
                403,
                StoreError,
                ": access denied (HeadObject). The store does not say why: check that these credentials have "
                "s3:GetObject, and that neither a policy nor Requester Pays (--requester-pays) denies it.",
            ),
            (404, NothingToReadError, " does not exist. Check the path."),
            (503, StoreError, ": the store is not available. Run again later."),
        ],
    )
    def test_an_answer_without_a_body_is_explained_by_its_status(
        self, status: int, kind: type[VergerError], words: str
    ) -> None:
        with serving(lambda _: Answer("", status)) as web:
            error = refused(web.url, "head_object", Key="k")
        assert type(error) is kind
        assert error.line == WHERE + words

    def test_every_explained_code_is_tested(self) -> None:
        by_status = {code for code in refusals._ALIASES if code.isdigit()}
        assert refusals._MEANINGS.keys() | refusals._ALIASES.keys() <= REFUSED.keys() | by_status

    def test_writing_to_a_missing_bucket_is_a_store_error(self) -> None:
        with serving(lambda _: Answer("<Error><Code>NoSuchBucket</Code></Error>", 404)) as web:
            error = refused(web.url, "create_multipart_upload", Key="k")
        assert type(error) is StoreError

    def test_a_web_server_is_not_taken_for_a_store(self) -> None:
        with serving(lambda _: Answer("<html><p>Welcome<br></html>", kind="text/html")) as web:
            assert "is no S3 store, or a broken one. Check --endpoint-url" in refused(web.url).line

    def test_endless_redirects_are_an_error(self) -> None:
        with serving(lambda _: Answer("", 301)) as web:
            assert "the endpoint only redirects requests" in refused(web.url, "head_bucket").line


class TestNoAnswer:
    @pytest.fixture
    def closed(self) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return f"127.0.0.1:{free.getsockname()[1]}"

    def test_a_closed_port_is_an_error(self, closed: str) -> None:
        error = refused(f"http://{closed}")
        assert type(error) is StoreError
        assert f"the store at {closed} cannot be reached (Connection refused). Check --endpoint-url" in error.line

    def test_a_proxys_password_is_not_repeated(self, closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:{SECRET}@{closed}")
        assert "cannot be reached" in refused("http://store.example:9000").line

    def test_a_server_of_another_protocol_is_an_error(self) -> None:
        def greet() -> None:
            with server.accept()[0] as client:
                client.recv(100)
                client.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as threads:
            for _ in range(2):  # it is asked twice
                threads.submit(greet)
            error = refused(f"http://127.0.0.1:{server.getsockname()[1]}")
        assert "cannot be reached (SSH-2.0-OpenSSH_9.2" in error.line

    def test_an_incomplete_answer_is_an_error(self) -> None:
        error = refusals.explain(failures.IncompleteReadError(actual_bytes=1, expected_bytes=2), WHERE)
        assert isinstance(error, StoreError)
        assert "the store's answer is incomplete or damaged" in error.line

    def test_errors_that_boto3_did_not_raise_are_not_explained(self) -> None:
        assert refusals.explain(KeyError("x"), WHERE) is None
