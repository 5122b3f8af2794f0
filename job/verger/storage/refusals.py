"""boto3's errors as errors that say in one line what happened and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import getproxies

from botocore import exceptions as boto_errors

from verger.errors import NothingToReadError, StoreError, UsageError, VergerError
from verger.redaction import redact, redact_values, words
from verger.storage import denials


@contextmanager
def translate_errors(where: str) -> Iterator[None]:
    """Turn boto3's errors into errors that say what the user can do.

    Parameters
    ----------
    where : str
        What the context reads or writes, as a URI, for the message.

    Raises
    ------
    VergerError
        The translated error; see `explain`.
    """
    try:
        yield
    except (boto_errors.BotoCoreError, boto_errors.ClientError, RecursionError) as error:
        translated = explain(error, where)
        if translated is None:
            raise
        raise translated from _without_secrets(error)


def explain(error: Exception, where: str) -> VergerError | None:
    """Translate an error of boto3.

    Parameters
    ----------
    error : Exception
        What boto3 raised; a RecursionError counts as its own.
    where : str
        What was read or written, as a URI, for the message.

    Returns
    -------
    VergerError or None
        None where boto3 did not raise the error.
    """
    if isinstance(error, boto_errors.ClientError):
        return _explain_response(error, where)
    # botocore repeats a request while redirects name no region. It may end in a part of it that wraps all errors.
    if isinstance(error, RecursionError) or "maximum recursion depth exceeded" in str(error):
        return StoreError(f"{where}: the endpoint only redirects requests", "Check --endpoint-url: http: or https:")
    if isinstance(error, boto_errors.ConfigParseError):
        return _explain_file(error)
    if isinstance(error, boto_errors.SSLError):
        return _explain_tls(_cause(error), where)
    if re.search(r"Invalid header value|codec can't encode", str(error)):
        return StoreError(
            f"{where}: a key, a token or the password of a proxy has a character that no HTTP header can have",
            "Correct it where it is set",
        )
    if isinstance(error, (boto_errors.HTTPClientError, boto_errors.ConnectionError)):
        endpoint = str(getattr(error, "kwargs", {}).get("endpoint_url", ""))
        at = f" at {_host(endpoint)}" if endpoint else ""
        return StoreError(
            f"{where}: the store{at} cannot be reached ({_cause(error)})",
            f"Check --endpoint-url, http: or https: included, {_proxies()}and the network",
        )
    if isinstance(error, _DAMAGED_BODY):
        return StoreError(f"{where}: the store's answer is incomplete or damaged ({_cause(error)})", "Run again")
    if isinstance(error, _CREDENTIAL_ERRORS):
        return no_credentials(where, _cause(error))
    if isinstance(error, boto_errors.BotoCoreError):
        return UsageError(f"{where}: {_cause(error)}", "Check the URI, --region and AWS's own settings")
    return None


def not_s3(where: str) -> StoreError:
    """The error for a server at the endpoint that speaks HTTP but not S3: a web server, perhaps.

    Parameters
    ----------
    where : str
        What was read or written, as a URI.

    Returns
    -------
    StoreError
        For the caller to raise; it advises to check the endpoint.
    """
    return StoreError(f"{where}: the server at the endpoint is no S3 store, or a broken one", "Check --endpoint-url")


def _proxies() -> str:
    """The variables that name a proxy, where one is set, which any request may go through."""
    named = [name for name in ("HTTP_PROXY", "HTTPS_PROXY") if name[:-6].lower() in getproxies()]
    return f"the proxy of {' and '.join(named)} " if named else ""


def _without_secrets(error: Exception) -> Exception | None:
    """An error as a traceback may show it; None where its text has secrets in it that cannot be removed."""
    if not isinstance(error, boto_errors.ConfigParseError) and redact(str(error)) == str(error):
        return error
    if isinstance(error, boto_errors.ClientError):  # its code tells what to do
        return boto_errors.ClientError(redact_values(error.response), error.operation_name)
    return None


def _explain_file(error: boto_errors.ConfigParseError) -> UsageError:
    """A file of AWS's that cannot be parsed. Its parser quotes the lines, in which keys may be."""
    given: dict[str, Any] = dict(error.kwargs)
    path, cause = given["path"], given["error"]
    number = getattr(cause, "lineno", None) or next((line for line, _ in getattr(cause, "errors", ())), None)
    why = "it is not UTF-8" if isinstance(cause, UnicodeDecodeError) else "it must be [PROFILE], then NAME = VALUE"
    return UsageError(f"{path} cannot be read{f' from line {number}' if number else ''}: {why}", f"Correct {path}")


def _explain_tls(cause: str, where: str) -> StoreError:
    if "certificate" not in cause:
        return StoreError(f"{where}: the endpoint does not use TLS ({cause})", "Check --endpoint-url: http: or https:")
    return StoreError(
        f"{where}: the store's certificate is not trusted ({cause})",
        "Give the certificate of the authority that signed it: --ca-bundle FILE.pem or AWS_CA_BUNDLE",
    )


_DAMAGED_BODY = (boto_errors.IncompleteReadError, boto_errors.ChecksumError, boto_errors.FlexibleChecksumError)
_CREDENTIAL_ERRORS = (
    boto_errors.NoCredentialsError,
    boto_errors.PartialCredentialsError,
    boto_errors.CredentialRetrievalError,
    boto_errors.MetadataRetrievalError,
    boto_errors.UnauthorizedSSOTokenError,
    boto_errors.SSOTokenLoadError,
    boto_errors.TokenRetrievalError,
    boto_errors.InvalidConfigError,
)

# The store's error codes -> what they mean, and what to do.
_MEANINGS = {
    "InvalidAccessKeyId": ("the store does not know this access key", "Check AWS_ACCESS_KEY_ID"),
    "SignatureDoesNotMatch": ("the secret key does not belong to the access key", "Check AWS_SECRET_ACCESS_KEY"),
    "ExpiredToken": ("the session token has expired", "Get new credentials and run again: what was committed is kept"),
    "InvalidToken": ("the session token is not valid", "Check AWS_SESSION_TOKEN, or unset it"),
    "RequestTimeTooSkewed": ("this machine's clock differs too much from the store's", "Set the clock"),
    "NoSuchBucket": ("there is no such bucket", "Check the name and the endpoint"),
    "InvalidBucketName": ("the store does not accept this bucket name", "Check the URI"),
    "AllAccessDisabled": ("all access to it is disabled, by AWS", "Ask the bucket's owner, or AWS's support"),
    "InvalidObjectState": ("archived, and so cannot be read (storage class GLACIER or the like)", "Restore it first"),
    "InternalError": ("the store has an internal error", "Run again later"),
    "SlowDown": ("the store is overloaded", "Run again later"),
    "ServiceUnavailable": ("the store is not available", "Run again later"),
    "XMinioStorageFull": ("the store is full", "Free some space there"),
    "NotImplemented": ("the store lacks something that Verger needs", "Use a store with conditional writes"),
    "PermanentRedirect": ("the bucket is in another region", "Leave --region out, or give the bucket's region"),
    "AuthorizationHeaderMalformed": (
        "the bucket is in another region",
        "Leave --region out, or give the bucket's region",
    ),
}
# Codes with the same meaning as another one.
_ALIASES = {
    "ExpiredTokenException": "ExpiredToken",
    "TokenRefreshRequired": "ExpiredToken",
    "InvalidTokenId": "InvalidToken",
    "InvalidClientTokenId": "InvalidAccessKeyId",
    "403": "AccessDenied",
    "Forbidden": "AccessDenied",
    "502": "ServiceUnavailable",
    "503": "ServiceUnavailable",
    "504": "ServiceUnavailable",
    "301": "PermanentRedirect",
}
# boto3's operation -> the IAM permission that it needs, where its name is another.
_PERMISSIONS = {
    "ListObjectsV2": "ListBucket",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "DeleteObjects": "DeleteObject",
    "ListMultipartUploads": "ListBucketMultipartUploads",
}


def _explain_response(error: boto_errors.ClientError, where: str) -> VergerError:
    code, operation = str(error.response["Error"].get("Code", "")), error.operation_name
    if code in ("NoSuchKey", "404", "NotFound"):
        return NothingToReadError(f"{where} does not exist", "Check the path")
    if code == "NoSuchBucket" and operation in ("ListObjectsV2", "GetObject", "HeadObject"):
        return NothingToReadError(f"{where}: there is no such bucket", "Check the name and the endpoint")
    if code == "500":  # botocore's name for an answer that is no XML
        return not_s3(where)
    return explain_code(code, _message(error), operation, where)


def explain_code(code: str, message: str, operation: str, where: str) -> StoreError:
    """Translate an error code of S3.

    Parameters
    ----------
    code : str
        The store's, or the status where the answer had no body.
    message : str
        The store's sentence.
    operation : str
        boto3's name of what was asked.
    where : str
        What was read or written, as a URI, for the message.

    Returns
    -------
    StoreError
        It has the store's own words where they say more than the code.
    """
    code = _ALIASES.get(code, code)
    if code == "AccessDenied":
        denial = denials.explain(message, f"s3:{_PERMISSIONS.get(operation, operation)}")
        said = f": {denial.words}" if denial.words else ""
        return StoreError(f"{where}: access denied ({operation}){said}", denial.advice)
    if code in _MEANINGS:
        meaning, advice = _MEANINGS[code]
        return StoreError(f"{where}: {meaning}", advice)
    if code == "500":  # botocore's name for an answer that is no XML
        return not_s3(where)
    message = words(message)
    if _is_about_a_key(code):
        return StoreError(
            f"{where}: the store cannot use the encryption key ({operation}, {code}: {message})",
            "Check the key's state, its region, and --sse-kms-key-id",
        )
    return StoreError(
        f"{where}: the store answers {operation} with {code}: {message}",
        "Look up the code in the store's documentation",
    )


def object_problem(error: VergerError) -> str | None:
    """Why one object cannot be read, where others may be readable.

    Parameters
    ----------
    error : VergerError
        As `translate_errors` raised it.

    Returns
    -------
    str or None
        None where the error is not about this object alone.
    """
    cause = error.__cause__
    if not isinstance(cause, boto_errors.ClientError):
        return None
    code, details = str(cause.response["Error"].get("Code")), cast(dict[str, str], cause.response["Error"])
    if code == "InvalidObjectState":
        tier = details.get("AccessTier") or details.get("StorageClass")
        return f"archived{f' ({tier})' if tier else ''}: restore it first"
    if _is_about_a_key(code):
        return f"its encryption key cannot be used ({code}: {_message(cause)[:200]})"
    if code == "AccessDenied":
        words = denials.explain(_message(cause), "").words
        return f"access denied{f': {words}' if words else ''}"
    if code == "InvalidRequest" and "Server Side Encryption" in _message(cause):
        return "encrypted with a key that the store does not have (SSE-C)"
    return None


def is_denial(error: VergerError) -> bool:
    """Whether the store denied access.

    Parameters
    ----------
    error : VergerError
        As `translate_errors` raised it.
    """
    cause = error.__cause__
    code = str(cause.response["Error"].get("Code", "")) if isinstance(cause, boto_errors.ClientError) else ""
    return _ALIASES.get(code, code) == "AccessDenied"


def _is_about_a_key(code: str) -> bool:
    """Whether a code is KMS's: ``KMS.DisabledException`` on AWS, ``kms:KeyNotFound``, with status 404, on MinIO."""
    return code.upper().startswith("KMS")


def _message(error: boto_errors.ClientError) -> str:
    return redact(" ".join(str(error.response["Error"].get("Message", "")).split()))


def no_credentials(where: str, why: str) -> StoreError:
    """The error for credentials that are missing or not valid.

    Parameters
    ----------
    where : str
        What was read or written, as a URI.
    why : str
        What is wrong with them.

    Returns
    -------
    StoreError
        For the caller to raise; it advises where to give them.
    """
    return StoreError(
        f"{where}: no usable credentials ({why})",
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role of the pod",
    )


def _cause(error: BaseException) -> str:
    """The text of the innermost cause, without the paths and queries of URLs, which may hold signatures."""
    if isinstance(error, (boto_errors.ConnectTimeoutError, boto_errors.ReadTimeoutError)):
        return "no answer in time"
    inner = getattr(error, "kwargs", {}).get("error") or error
    while inner.args and isinstance(inner.args[-1], Exception):  # urllib3 wraps one error in another
        inner = inner.args[-1]
    text = re.sub(r"https?://\S+", lambda url: _host(url[0]), " ".join(str(inner).split()))
    text = re.sub(r"AWSHTTPS?Connection(Pool)?\(.*?\): |\[SSL: \w+\] | \(_ssl\.c:\d+\)", "", text)
    message = re.search(r"\[Errno -?\d+\] ([^)]+)", text)
    return words(message[1] if message else text, 160)


def _host(url: str) -> str:
    """Host and port of a URL, without user and password."""
    return urlsplit(url).netloc.rpartition("@")[2]
