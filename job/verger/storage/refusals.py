"""What boto3's errors mean to the user, in one line each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from botocore import exceptions as failures

from verger.errors import NothingToReadError, StoreError, UsageError, VergerError


@contextmanager
def translate_errors(where: str) -> Iterator[None]:
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
        return no_credentials(where, _cause(error))
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


def no_credentials(where: str, why: str) -> StoreError:
    """The line for keys that are missing, or cannot be had."""
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
