"""Spark's errors as errors that say in one line what happened and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from verger import errors
from verger.errors import DoesNotFitError, StoreError, UsageError, VergerError
from verger.redaction import words
from verger.storage import denials, system_errors

# Pattern in the text of an error of S3A, which writes the event log to a bucket -> what it means, and what to do.
# Before Spark starts, boto3 has checked the keys and the bucket: these are errors that occur later.
_RESUME = "Run the same command again: what was committed is kept"
_NEW_KEYS = "Get new credentials and run again: what was committed is kept"
_S3A = (
    (r"ExpiredToken|TokenRefreshRequired|InvalidToken", "the session token has expired", _NEW_KEYS),
    (r"RequestTimeTooSkewed", "this machine's clock differs too much from the store's", "Set the clock"),
    (r"NoSuchBucket|UnknownStoreException", "there is no such bucket", "Check the name and the endpoint"),
    (r"InvalidAccessKeyId|SignatureDoesNotMatch", "the store refuses the credentials", _NEW_KEYS),
    (r"NoAuthWithAWSException", "Spark finds no credentials", "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    (r"XMinioStorageFull|InsufficientStorage|Status Code: 507", "the store is full", "Free some space there"),
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
    (r"AWSUnsupportedFeatureException", "the store lacks a feature that S3A needs", "Use another store"),
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

# What runs out, of which only some is memory of the driver.
_MEMORY = (
    (
        r"unable to create (?:new )?native thread|error=11, Resource temporarily unavailable",
        "the system starts no more processes or threads for this user",
        "Raise the limit (ulimit -u, or the container's limit of pids), or give fewer --cores",
    ),
    (
        r"error=12, Cannot allocate memory|\[Errno 12\]",
        "the system has no memory for another process",
        "Give fewer --cores or less --driver-memory, or use a machine with more memory",
    ),
    ("OutOfMemoryError", "Spark ran out of memory", "Give more --driver-memory, or fewer --cores"),
    (
        "possible container OOM",  # Kubernetes' exit code 137, in Spark's words
        "executors were killed, as the kernel does where a container's memory is short",
        "Give them more memory beside the JVM (the chart's executor.memoryOverhead), or fewer cores. They end likewise "
        "where a node is taken away",
    ),
    ("INVALID_DRIVER_MEMORY", "Spark does not start with so little memory", "Give more --driver-memory"),
    (r"MemoryError", "a Python worker ran out of memory", "Give fewer --cores or a smaller --batch-size"),
)
_NOEXEC = (
    r"(\S+\.so\S*): failed to map segment from shared object",
    "{0} cannot be loaded: its folder is mounted noexec",
    "Give --local-dir or TMPDIR a folder on another disk",
)
_PYTHON = "Under spark-submit let PYSPARK_PYTHON name the Python in which verger is installed, on driver and executors"
MISSING_JARS = "Fetch the jars with `make jars`, set VERGER_JARS to their folder, or give a local --event-log"
"""What to do where Spark lacks a jar of S3A."""

_INSTALLATION = (
    _NOEXEC,
    (
        r"(?:NoClassDefFoundError|ClassNotFoundException): (?:Class |Could not initialize class )?"
        r"((?:software[/.]amazon|org[/.]apache[/.]hadoop[/.]fs[/.]s3a)[/.][\w/.$]*\w)",
        "Spark cannot write its event log to S3: the class {0} cannot be loaded",
        MISSING_JARS,
    ),
    (r"PYTHON_VERSION_MISMATCH\] ([^,\n]*)", "{0}", _PYTHON),
    (
        r"ModuleNotFoundError: No module named '(verger|pyspark|numpy|pyarrow)[.']",
        "Spark's Python workers have no module {0}",
        _PYTHON,
    ),
    (
        r"EOFException occurred while reading the port number from verger\.",
        "the process from which Spark forks Python workers ended: it lacks verger, or died as it imported TensorFlow",
        f"`verger doctor` imports TensorFlow, too, and tells what it says. {_PYTHON}, in the same version",
    ),
    (
        r'Cannot run program "([^"]*)"[^:\n]*: error=(?:2|13), ([^\n]*)',
        "Spark cannot start {0}: {1}",
        f"Check that the user of this process may run it. {_PYTHON}",
    ),
)


class JvmLostError(DoesNotFitError):
    """Spark's JVM does not answer any more."""


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
def detach_errors() -> Iterator[None]:
    """Turn errors into such as can be told after the JVM has ended; see `detach_error`.

    Raises
    ------
    Exception
        The detached error.
    """
    try:
        yield
    except Exception as error:
        if (detached := detach_error(error)) is not error:
            raise detached from error
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
    for pattern, meaning, advice in _MEMORY:
        if re.search(pattern, text):
            return DoesNotFitError(meaning, advice)
    for pattern, meaning, advice in _INSTALLATION:
        if found := re.search(pattern, text):
            return UsageError(meaning.format(*map(words, found.groups())), advice)
    if not re.search(r"s3a://|java\.net\.", text) and (explained := _about_a_disk(text)):
        return explained
    for pattern, meaning, advice in _S3A:
        if found := re.search(pattern, text):
            where = re.search(r"s3a://[^\s:,'\"]+", text[: found.end()][-500:] + text[found.end() :][:500])
            place = where[0].replace("s3a:", "s3:") if where else "S3"
            if advice:
                return StoreError(f"{place}: {meaning}", advice)
            return _unexplained_refusal(text, place, meaning)
    if denied := re.search(r"(?:AccessControlException|AccessDeniedException|Permission denied)[^\n]*", text):
        return StoreError(f"access denied: {words(denied[0])}", "Check the path and its permissions")
    if re.search("Py4JNetworkError|ConnectionRefusedError|Answer from Java side is empty", text):
        return JvmLostError(
            "Spark's JVM died",
            "Its last lines tell why. If dmesg shows the kernel's out-of-memory killer, it needs more memory",
        )
    return None


def _about_a_disk(text: str) -> VergerError | None:
    """The error for what a file system refuses, in the system's words."""
    if told := system_errors.find(text):
        number, said = told
        where = re.search(rf"(/[^\n:(]*) \({re.escape(said)}\)", text)
        return system_errors.explain(number, said, where[1] if where else "what Spark reads or writes")
    if refused := re.search(r"ExitCodeException exitCode=\d+: (chmod: [^\n]*)", text):
        return StoreError(
            f"Spark cannot set permissions: {refused[1].partition(' at org.')[0][:300]}",
            "Give an --event-log whose file system lets this user set them, as chmod does",
        )
    if uncreated := re.search(r"Mkdirs failed to create (?:file:)?([^\n(]*)", text):
        return StoreError(
            f"Spark cannot create the folder {uncreated[1].strip()}", "Check that this user can create folders there"
        )
    return None


def _unexplained_refusal(text: str, place: str, meaning: str) -> StoreError:
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


def crash_message(error: BaseException) -> str:
    """What a Python worker said as it died.

    Parameters
    ----------
    error : BaseException
        Of a Spark job; see `worker_lost`.

    Returns
    -------
    str
        Such as "Fatal Python error: Segmentation fault"; empty where it was killed, which leaves no time for words.
    """
    found = re.search(r"Fatal Python error: [^\n]*", str(error))
    return words(found[0]) if found else ""
