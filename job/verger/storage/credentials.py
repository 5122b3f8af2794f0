"""One place for how this process reaches S3: keys, endpoint, region and certificates, for boto3 and S3A alike."""

from __future__ import annotations

import functools
import os
import random
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore import exceptions as failures
from botocore.config import Config

from verger import __version__
from verger.config import RunConfig
from verger.errors import NothingToReadError, StoreError, UsageError, VergerError
from verger.storage import buckets
from verger.storage.buckets import Bucket, is_aws

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Where the first question about a bucket goes when nobody has named a region: to an endpoint in the EU.
FIRST_REGION = "eu-central-1"

# boto3's name for where it found the keys -> what finds the same ones in the JVM.
_PROVIDERS = {
    "env": "EnvironmentVariableCredentialsProvider",
    "assume-role-with-web-identity": "WebIdentityTokenFileCredentialsProvider",
    "shared-credentials-file": "ProfileCredentialsProvider",
    "config-file": "ProfileCredentialsProvider",
    "assume-role": "ProfileCredentialsProvider",
    "custom-process": "ProfileCredentialsProvider",
    "container-role": "ContainerCredentialsProvider",
    "iam-role": "InstanceProfileCredentialsProvider",
}


def resolve(name: str, config: RunConfig | None = None) -> Bucket:
    """How a bucket is to be reached: by the settings, else by AWS's own variables and files.

    Raises
    ------
    UsageError
        A profile, region or file that is named there does not exist.
    """
    with explained(f"s3://{name}"):
        session = boto3.Session()
        region = (config and config.region) or os.environ.get("AWS_REGION") or session.region_name
        given = config.endpoint_url if config else None
        endpoint = _endpoint(session, region, given)
        own = given or not re.fullmatch(r"https://s3[.-]([a-z0-9-]+\.)?amazonaws\.(com|eu|com\.cn)", endpoint)
        ca_bundle = (config and config.ca_bundle) or session._session.get_config_variable("ca_bundle")
        path_style = config.path_style if config else None
    if not endpoint.startswith("https:"):
        ca_bundle = None
    elif ca_bundle:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca_bundle)
        except OSError as error:
            raise UsageError(f"no certificates at {ca_bundle}", "Check --ca-bundle and AWS_CA_BUNDLE") from error
    return Bucket(
        name=name,
        region=region,
        endpoint_url=endpoint if own else None,
        path_style=not is_aws(endpoint) if path_style is None else path_style,
        ca_bundle=ca_bundle or None,
    )


def _endpoint(session: boto3.Session, region: str | None, given: str | None) -> str:
    """boto3 knows all the places where an endpoint may be configured, and tells by the client that it makes."""
    try:
        probe = session.client("s3", region_name=region or FIRST_REGION, endpoint_url=given or None)
        endpoint: str = probe.meta.endpoint_url.rstrip("/")
    except ValueError as error:  # of what is no URL at all
        if isinstance(error, failures.BotoCoreError):
            raise
        endpoint = ""
    if not re.fullmatch(r"https?://[^/@?#\s]+", endpoint):  # not repeated, for it may hold a password
        raise UsageError(
            "the endpoint that AWS's variables or files give is not of the form http://HOST:PORT or https://HOST",
            "Mend AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or the profile's endpoint_url",
        )
    return endpoint


_making = threading.Lock()


def connection(name: str) -> Bucket:
    """How ``name`` was connected, else how the environment says."""
    return buckets.known(name) or resolve(name)


def client(bucket: Bucket, patient: bool = True) -> S3Client:
    """The boto3 client of a bucket, one a process, which threads may share.

    Parameters
    ----------
    bucket : Bucket
    patient : bool
        Whether it outlasts a store that restarts; a preflight wants to know soon, and so does a run that has failed.
    """
    with _making:  # boto3's session is not safe to share
        return _client(bucket, patient and not buckets.HURRY.is_set(), os.getpid())


def renew() -> None:
    """Forget the clients, and with them the keys that were found before."""
    _client.cache_clear()


@functools.lru_cache(maxsize=64)
def _client(bucket: Bucket, patient: bool, _process: int) -> S3Client:
    config = Config(
        connect_timeout=5 if patient else 2,
        read_timeout=30 if patient else 5,
        retries={"mode": "standard", "total_max_attempts": 4 if patient else 2},
        max_pool_connections=32,
        user_agent_extra=f"verger/{__version__}",
        s3={"addressing_style": "path" if bucket.path_style else "auto"},
        # Stores that are not AWS's may not know its newer checksums.
        request_checksum_calculation="when_supported" if bucket.is_aws else "when_required",
        response_checksum_validation="when_supported" if bucket.is_aws else "when_required",
    )
    session = boto3.Session()
    # Dates of a listing are half the cost of reading it, and nobody looks at them.
    factory = session._session.get_component("response_parser_factory")
    factory.set_parser_defaults(timestamp_parser=str)
    made: S3Client = session.client(
        "s3",
        region_name=bucket.region or FIRST_REGION,
        endpoint_url=bucket.endpoint_url,
        verify=bucket.ca_bundle,
        config=config,
    )
    if patient:
        handler: Any = _seconds_until_retry
        made.meta.events.register("needs-retry.s3", handler)
    return made


def _seconds_until_retry(
    request_dict: dict[str, Any],
    response: tuple[Any, Any] | None = None,
    caught_exception: Exception | None = None,
    **_: Any,
) -> float | None:
    """When to send a request again that a store has left unanswered; None to leave it at that, after a minute.

    botocore itself waits for random times, and no longer where many requests share its quota of retries: of a
    store's photographs, some would be given up before the store has restarted.
    """
    silent = response is not None and response[0].status_code in (429, 500, 502, 503, 504)
    if isinstance(caught_exception, (failures.ConnectionError, failures.HTTPClientError)):
        silent = not isinstance(caught_exception, failures.SSLError)
    since = request_dict["context"].setdefault("silent since", time.monotonic())
    if not silent or time.monotonic() - since > buckets.PATIENCE_S or buckets.HURRY.is_set():
        return None
    return random.uniform(1, 3)


def java_provider() -> str:
    """The class by which S3A finds the keys that boto3 finds.

    Raises
    ------
    StoreError
        There are no keys, or of a kind that the JVM cannot find.
    """
    with explained("S3"):
        found = boto3.Session().get_credentials()
    if found is None:
        raise _no_credentials("S3", "none were found")
    if found.method not in _PROVIDERS:
        raise StoreError(
            f"credentials by {found.method} serve Python only, not Spark",
            "Export them into the environment: aws configure export-credentials --format env",
        )
    by_profile = found.method == "assume-role-with-web-identity" and "AWS_ROLE_ARN" not in os.environ
    provider = "ProfileCredentialsProvider" if by_profile else _PROVIDERS[found.method]
    return f"software.amazon.awssdk.auth.credentials.{provider}"


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn boto3's errors into lines that a user can act on."""
    try:
        yield
    except (failures.BotoCoreError, failures.ClientError, RecursionError) as error:
        known = explain(error, where)
        if known is None:
            raise
        raise known from error


def explain(error: Exception, where: str) -> VergerError | None:
    """What an error of boto3's means to the user, in one line; None where it is none of boto3's.

    Parameters
    ----------
    error : Exception
    where : str
        What was asked for, as a URI.
    """
    if isinstance(error, failures.ClientError):
        return _refusal(error, where)
    if isinstance(error, RecursionError):  # botocore asks again for as long as a redirect names no region
        return StoreError(f"{where}: the endpoint sends requests elsewhere", "Check --endpoint-url: http: or https:")
    if isinstance(error, failures.SSLError):
        return _untrusted(_cause(error), where)
    if isinstance(error, (failures.HTTPClientError, failures.ConnectionError)):
        endpoint = str(getattr(error, "kwargs", {}).get("endpoint_url", ""))
        place = f" at {_host(endpoint)}" if endpoint else ""
        return StoreError(
            f"{where}: the store{place} cannot be reached ({_cause(error)})",
            "Check --endpoint-url, http: or https: included, and the network",
        )
    if isinstance(error, _BROKEN):
        return StoreError(f"{where}: what the store sent is not whole ({_cause(error)})", "Run again")
    if isinstance(error, _CREDENTIAL_FAILURES):
        return _no_credentials(where, _cause(error))
    if isinstance(error, failures.BotoCoreError):
        return UsageError(f"{where}: {_cause(error)}", "Check the URI, --region and AWS's own settings")
    return None


def no_store(where: str) -> StoreError:
    """What listens there, a web server perhaps, speaks HTTP but not S3."""
    return StoreError(f"{where}: what answers at the endpoint is no S3 store, or a broken one", "Check --endpoint-url")


def _untrusted(cause: str, where: str) -> StoreError:
    if "certificate" not in cause:
        return StoreError(f"{where}: the endpoint speaks no TLS ({cause})", "Check --endpoint-url: http: or https:")
    return StoreError(
        f"{where}: the store's certificate is not trusted ({cause})",
        "Name the authority that signed it with --ca-bundle FILE.pem or AWS_CA_BUNDLE",
    )


_BROKEN = (failures.IncompleteReadError, failures.ChecksumError, failures.FlexibleChecksumError)
_CREDENTIAL_FAILURES = (
    failures.NoCredentialsError,
    failures.PartialCredentialsError,
    failures.CredentialRetrievalError,
    failures.MetadataRetrievalError,
    failures.UnauthorizedSSOTokenError,
    failures.SSOTokenLoadError,
    failures.TokenRetrievalError,
    failures.InvalidConfigError,
)

# The store's codes -> what they mean, and what to do.
_REFUSALS = {
    "InvalidAccessKeyId": ("the store does not know this access key", "Check AWS_ACCESS_KEY_ID"),
    "SignatureDoesNotMatch": ("the secret key does not belong to the access key", "Check AWS_SECRET_ACCESS_KEY"),
    "ExpiredToken": ("the session token has expired", "Get new credentials and run again: what was committed is kept"),
    "InvalidToken": ("the session token is not valid", "Check AWS_SESSION_TOKEN, or unset it"),
    "RequestTimeTooSkewed": ("this machine's clock differs too much from the store's", "Set the clock"),
    "NoSuchBucket": ("there is no such bucket", "Check the name and the endpoint"),
    "InvalidBucketName": ("the store takes this for no bucket's name", "Check the URI"),
    "SlowDown": ("the store is overloaded", "Run again later"),
    "ServiceUnavailable": ("the store is not available", "Run again later"),
    "XMinioStorageFull": ("the store is full", "Free some space there"),
    "NotImplemented": ("the store lacks something that Verger needs", "Use a store with conditional writes"),
    "PermanentRedirect": ("the bucket is in another region", "Leave --region out, or name the bucket's"),
    "AuthorizationHeaderMalformed": ("the bucket is in another region", "Leave --region out, or name the bucket's"),
}
_SAME = {
    "ExpiredTokenException": "ExpiredToken",
    "TokenRefreshRequired": "ExpiredToken",
    "InvalidTokenId": "InvalidToken",
    "InvalidClientTokenId": "InvalidAccessKeyId",
    "AllAccessDisabled": "AccessDenied",
    "403": "AccessDenied",
    "Forbidden": "AccessDenied",
    "502": "ServiceUnavailable",
    "503": "ServiceUnavailable",
    "504": "ServiceUnavailable",
    "301": "PermanentRedirect",
}
# What was asked -> the right that it needs, where IAM calls it otherwise.
_RIGHTS = {
    "ListObjectsV2": "ListBucket",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "DeleteObjects": "DeleteObject",
    "ListMultipartUploads": "ListBucketMultipartUploads",
}


def _refusal(error: failures.ClientError, where: str) -> VergerError:
    code, operation = str(error.response["Error"].get("Code", "")), error.operation_name
    if code in ("NoSuchKey", "404", "NotFound"):
        return NothingToReadError(f"{where} does not exist", "Check the path")
    if code == "NoSuchBucket" and operation in ("ListObjectsV2", "GetObject", "HeadObject"):
        return NothingToReadError(f"{where}: there is no such bucket", "Check the name and the endpoint")
    code = _SAME.get(code, code)
    if code == "AccessDenied":
        right = f"s3:{_RIGHTS.get(operation, operation)}"
        return StoreError(f"{where}: access denied ({operation})", f"Grant these credentials {right}, or use others")
    if code in _REFUSALS:
        meaning, advice = _REFUSALS[code]
        return StoreError(f"{where}: {meaning}", advice)
    if code == "500":  # botocore's name for an answer that is no XML
        return no_store(where)
    message = str(error.response["Error"].get("Message", ""))[:200]
    return StoreError(f"{where}: the store answers {operation} with {code}: {message}", "See what that means there")


def _no_credentials(where: str, why: str) -> StoreError:
    return StoreError(
        f"{where}: no usable credentials ({why})",
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role of the pod",
    )


def _cause(error: BaseException) -> str:
    """The innermost cause that is known, without URLs, whose queries may be signed."""
    if isinstance(error, (failures.ConnectTimeoutError, failures.ReadTimeoutError)):
        return "no answer in time"
    inner = getattr(error, "kwargs", {}).get("error") or error
    while inner.args and isinstance(inner.args[-1], Exception):  # urllib3 packs one into the other
        inner = inner.args[-1]
    text = re.sub(r"https?://\S+", lambda url: _host(url[0]), " ".join(str(inner).split()))
    text = re.sub(r"AWSHTTPS?Connection(Pool)?\(.*?\): |\[SSL: \w+\] | \(_ssl\.c:\d+\)", "", text)
    told = re.search(r"\[Errno -?\d+\] ([^)]+)", text)
    return (told[1] if told else text)[:160]


def _host(url: str) -> str:
    """Host and port alone."""
    return urlsplit(url).netloc.rpartition("@")[2]
