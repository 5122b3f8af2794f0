"""environment: a variable that is set to nothing counts as unset for every library."""

from __future__ import annotations

import os
import re

import pytest

from tests.conftest import ROOT
from verger import cli
from verger.config import RunConfig, load
from verger.environment import PREFIXES, unset_empty
from verger.storage import credentials, keys
from verger.storage.buckets import Bucket
from verger.storage.stores import Stores

pytestmark = pytest.mark.required_in_ci

# Those of boto3 and of AWS's SDK for Java that have to do with how a store is reached.
AWS = [
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_DATA_PATH",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_ACCOUNT_ID",
    "AWS_ACCOUNT_ID_ENDPOINT_MODE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
    "AWS_METADATA_SERVICE_TIMEOUT",
    "AWS_METADATA_SERVICE_NUM_ATTEMPTS",
    "AWS_MAX_ATTEMPTS",
    "AWS_RETRY_MODE",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT",
    "AWS_DEFAULTS_MODE",
    "AWS_REQUEST_CHECKSUM_CALCULATION",
    "AWS_RESPONSE_CHECKSUM_VALIDATION",
    "AWS_SDK_UA_APP_ID",
    "AWS_SIGV4A_SIGNING_REGION_SET",
    "AWS_S3_DISABLE_EXPRESS_SESSION_AUTH",
    "AWS_DISABLE_REQUEST_COMPRESSION",
    "AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
]


@pytest.mark.parametrize("name", AWS)
def test_boto3_does_as_without_an_empty_variable(
    name: str, example_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "")
    bucket = credentials.resolve("orchard")
    assert bucket == Bucket("orchard")
    found = keys.session().get_credentials()
    assert found is not None
    assert (found.method, found.access_key, found.token) == ("env", "AKIAEXAMPLE", None)


def test_a_client_can_be_made_though_all_are_empty(example_keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in AWS:
        monkeypatch.setenv(name, "")
    assert Stores().client(Bucket("orchard", "eu-west-3")).meta.region_name == "eu-west-3"
    assert credentials.java_provider().endswith(".EnvironmentVariableCredentialsProvider")


def test_an_empty_endpoint_and_region_leave_those_of_other_variables(
    example_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL_S3": "",
        "AWS_ENDPOINT_URL": "http://store:9000",
        "AWS_REGION": "",
        "AWS_DEFAULT_REGION": "eu-west-3",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = credentials.resolve("orchard")
    assert (bucket.endpoint_url, bucket.region) == ("http://store:9000", "eu-west-3")


@pytest.mark.parametrize("name", RunConfig.model_fields)
def test_an_empty_variable_leaves_a_setting_at_its_default(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    places = {"input": "in", "output": "out"}
    expected = load(places)
    monkeypatch.setenv(f"VERGER_{name.upper()}", "")
    assert load(places) == expected


@pytest.mark.parametrize(
    "name",
    [
        *("VERGER_JARS", "VERGER_LOG_FORMAT", "JAVA_HOME", "SPARK_HOME", "SPARK_CONF_DIR", "SPARK_LOCAL_IP"),
        *("PYSPARK_PYTHON", "PYSPARK_SUBMIT_ARGS", "PYSPARK_GATEWAY_PORT", "HADOOP_USER_NAME", "HADOOP_CONF_DIR"),
        *("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "KERAS_HOME", "TF_ENABLE_ONEDNN_OPTS", "OMP_NUM_THREADS"),
        *("HOME", "HOSTNAME", "TMPDIR", "AWS_PROFILE"),
    ],
)
def test_the_command_line_unsets_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So no process that it starts sees it either."""
    monkeypatch.setenv(name, "")
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert name not in os.environ


@pytest.mark.parametrize(("name", "value"), [("AWS_PROFILE", "orchard"), ("CUDA_VISIBLE_DEVICES", ""), ("TZ", "")])
def test_other_variables_are_kept(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some say something by being empty."""
    monkeypatch.setenv(name, value)
    unset_empty()
    assert os.environ[name] == value


def test_the_image_has_the_same_list() -> None:
    script = (ROOT / "image" / "entrypoint.sh").read_text()
    listed = re.search(r"case \$name in\n(.*?)\)", script, re.DOTALL)
    assert listed is not None
    assert sorted(re.findall(r"(\w+)\*", listed[1])) == sorted(PREFIXES)
