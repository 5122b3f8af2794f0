"""Spark's errors as errors that say in one line what happened and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from verger import errors
from verger.errors import DoesNotFitError, StoreError, VergerError
from verger.redaction import words
from verger.storage import denials, system_errors

# Pattern in the text of an S3A error -> what it means, and what to do. Before Spark starts, boto3 has checked the keys
# and the buckets: these are errors that occur later.
_RESUME = "Run the same command again: what was committed is kept"
_NEW_KEYS = "Get new credentials and run again: what was committed is kept"
_S3A = (
    (r"ExpiredToken|TokenRefreshRequired|InvalidToken", "the session token has expired", _NEW_KEYS),
    (r"RequestTimeTooSkewed", "this machine's clock differs too much from the store's", "Set the clock"),
    (r"NoSuchBucket|UnknownStoreException", "there is no such bucket", "Check the name and the endpoint"),
    (r"InvalidAccessKeyId|SignatureDoesNotMatch", "the store refuses the credentials", _NEW_KEYS),
    (r"NoAuthWithAWSException", "Spark finds no credentials", "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    (r"XMinioStorageFull|InsufficientStorage|Status Code: 507", "the store is full", "Free some space there"),
    (r"InvalidObjectState", "archived, and so cannot be read (storage class GLACIER or the like)", "Restore it first"),
    (
        r"\):(?:KMS\.|kms:)\w+",
        "the store cannot use the encryption key",
        "Check the key's state, its region, and --sse-kms-key-id",
    ),
    (r"Status Code: 403", "access denied", ""),  # without advice: the store's own sentence has the cause
    # An answer to HEAD has no body, and so no error code.
    (
        r"AWSBadRequestException[^\n]*?\):null",
        "the store refuses the request; the session token may have expired",
        _NEW_KEYS,
    ),
    (r"AWSBadRequestException", "the store refuses the request", ""),
    (r"AWSRedirectException", "the bucket is in another region", "Leave --region out, or give the bucket's region"),
    (r"AWSUnsupportedFeatureException", "the store lacks a feature that Spark's committer needs", "Use another store"),
    (
        r"PKIX path building failed|SSLHandshakeException",
        "the store's certificate is not trusted",
        "Give its authority's certificate with --ca-bundle",
    ),
    (r"AWSServiceThrottledException|Status Code: 503", "the store is overloaded", _RESUME),
    (
        r"java\.net\.(?:ConnectException|UnknownHostException|NoRouteToHostException|SocketTimeoutException|SocketException)"
        r"|ConnectTimeoutException|HttpHostConnectException|NoHttpResponseException|Unable to execute HTTP request"
        r"|AWSApiCallTimeoutException|AWSServiceIOException|AWSNoResponseException|AWSStatus500Exception",
        "the store cannot be reached any more",
        _RESUME,
    ),
)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn Spark's errors into errors that say what the user can do.

    Raises
    ------
    VergerError
        The translated error; see `explain`.
    """
    try:
        yield
    except VergerError:
        raise
    except Exception as error:
        if translated := explain(error):
            raise translated from error
        raise


@contextmanager
def warn_on_error(failure: str, warn: Callable[[str], None]) -> Iterator[None]:
    """Warn of an error instead of raising it: for results without which a run is still complete.

    Parameters
    ----------
    failure : str
        What is missing then, such as "the report was not drawn".
    warn : callable
        Takes the warning, one line: ``failure`` and the reason.
    """
    try:
        yield
    except Exception as error:
        translated = error if isinstance(error, VergerError) else explain(error)
        warn(f"{failure}: {translated.line if translated else f'{type(error).__name__}: {error}'}")


def detach_error(error: BaseException) -> BaseException:
    """Turn an error into one that can be printed after the JVM has ended. Py4J's errors ask the JVM for their text.

    Parameters
    ----------
    error : BaseException
        What ended the work in a session.

    Returns
    -------
    BaseException
        The error itself where it does not need the JVM.
    """
    if not isinstance(error, Exception) or isinstance(error, VergerError):
        return error
    needs_jvm = type(error).__module__.partition(".")[0] in ("pyspark", "py4j")
    return explain(error) or (RuntimeError(f"{type(error).__name__}: {error}") if needs_jvm else error)


def explain(error: BaseException) -> VergerError | None:
    """Translate an error of Spark.

    Its text is searched, as Spark wraps the cause in its own classes, and a task's failure reaches the driver as text.

    Parameters
    ----------
    error : BaseException
        Of Spark, Py4J or this process; the name of its type is searched too.

    Returns
    -------
    VergerError or None
        None where the error has no known cause, and so is a defect.
    """
    if isinstance(error, MemoryError):  # this process's own
        return DoesNotFitError(
            "not enough memory",
            "Close other programs, use a machine with more memory, or give fewer --cores or a smaller --batch-size",
        )
    text = f"{type(error).__name__}: {error}"
    if raised := re.search(r"verger\.errors\.(\w+Error): ([^\n]+)", text):  # by a Python worker
        return getattr(errors, raised[1])(raised[2])  # type: ignore[no-any-return]
    if re.search("No space left on device|Disk quota exceeded|DiskErrorException", text):
        return DoesNotFitError(
            "no space left on disk while Spark was writing",
            "Free some space, or choose another --local-dir or --output",
        )
    if told := system_errors.find(text):
        number, said = told
        where = re.search(rf"(/[^\n:(]*) \({re.escape(said)}\)", text)
        return system_errors.explain(number, said, where[1] if where else "what Spark reads or writes")
    if refused := re.search(r"ExitCodeException exitCode=\d+: (chmod: [^\n]*)", text):
        return StoreError(
            f"Spark cannot set permissions: {refused[1].partition(' at org.')[0][:300]}",
            "Give an --output whose file system lets this user set them, as chmod does",
        )
    if "OutOfMemoryError" in text or "MemoryError" in text:
        return DoesNotFitError("Spark ran out of memory", "Give more --driver-memory, or fewer --cores")
    for pattern, meaning, advice in _S3A:
        if found := re.search(pattern, text):
            where = re.search(r"s3a://[^\s:,'\"]+", text[: found.end()][-500:] + text[found.end() :][:500])
            place = where[0].replace("s3a:", "s3:") if where else "S3"
            if advice:
                return StoreError(f"{place}: {meaning}", advice)
            return _in_the_stores_words(text, place, meaning)
    unreadable = r"FAILED_READ_FILE(?!\.FILE_NOT_EXIST).*?Encountered error while reading file (?:file://)?(\S+?)\.?\s"
    if damaged := re.search(unreadable, text):
        file = damaged[1].replace("s3a://", "s3://")
        return StoreError(f"{file} is damaged", "Delete it: its photographs are computed again")
    if uncreated := re.search(r"Mkdirs failed to create (?:file:)?([^\n(]*)", text):
        return StoreError(
            f"Spark cannot create the folder {uncreated[1].strip()}", "Check that this user can create folders there"
        )
    if denied := re.search(r"(?:AccessControlException|AccessDeniedException|Permission denied)[^\n]*", text):
        return StoreError(f"access denied: {words(denied[0])}", "Check the path and its permissions")
    if re.search("Py4JNetworkError|ConnectionRefusedError|Answer from Java side is empty", text):
        return DoesNotFitError(
            "Spark's JVM died",
            "If the kernel's out-of-memory killer ended it, give less --driver-memory or fewer --cores",
        )
    if "JAVA_GATEWAY_EXITED" in text:
        return DoesNotFitError(
            "Spark's JVM ended as it started", "Give less --driver-memory, and see it with --log-level info"
        )
    return None


def _in_the_stores_words(text: str, place: str, meaning: str) -> StoreError:
    """The error for a refusal whose cause is in the store's own sentence, if anywhere."""
    said = re.search(r"Exception: ((?:(?!Exception: )[^\n])*?) \(Service: S3, Status Code: 40[03]", text)
    if meaning == "access denied":
        denial = denials.explain(said[1] if said else "", "")
        return StoreError(f"{place}: {meaning}{f': {denial.words}' if denial.words else ''}", denial.advice)
    sentence = f": {words(said[1])}" if said else ""
    return StoreError(f"{place}: {meaning}{sentence}", "Look it up in the store's documentation")


def worker_lost(error: BaseException) -> bool:
    """Whether a Python worker process died: a decoder aborted, or the kernel's out-of-memory killer ended it.

    Parameters
    ----------
    error : BaseException
        Of a Spark job.
    """
    return "Python worker exited unexpectedly" in str(error)
