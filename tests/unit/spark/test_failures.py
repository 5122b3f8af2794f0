"""spark/failures: the texts of errors that S3A 3.5.0 gave with a failing store, and their translations."""

from __future__ import annotations

import pytest

from verger.errors import DoesNotFitError, StoreError, UsageError
from verger.spark import failures
from verger.spark.failures import JvmLostError

pytestmark = pytest.mark.required_in_ci

RESUME = "Run the same command again: what was committed is kept."
NEW_KEYS = "Get new credentials and run again: what was committed is kept."
S3 = "software.amazon.awssdk.services.s3.model.S3Exception"
UNNAMED = "The store does not say why: check that these credentials have that permission, and that no policy denies it."
KEY = "arn:aws:kms:eu-west-3:123456789012:key/0a1b"
KEY_DENIED = (
    f"User: arn:aws:iam::123456789012:user/orchard is not authorized to perform: kms:Decrypt on resource: {KEY} "
    "because no identity-based policy allows the kms:Decrypt action"
)
CHECKSUM = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters"
S3A = "org.apache.hadoop.fs.s3a"
CLIENT = "software.amazon.awssdk.core.exception.SdkClientException"
STATUS = f"getFileStatus on s3a://lake/out/x: {S3}"

# Fault -> the first line of the error that Spark raised, and what the user reads.
MET = {
    "expired token, asked by HEAD": (
        f"{S3A}.AWSBadRequestException: {STATUS}: Bad Request (Service: S3, Status Code: 400, Request ID: null):null: "
        "Bad Request (Service: S3, Status Code: 400, Request ID: null)",
        "s3://lake/out/x: the store refuses the request; the session token may have expired. " + NEW_KEYS,
    ),
    "expired token, asked by PUT": (
        f"{S3A}.AWSBadRequestException: PUT 0-byte object  on x: {S3}: The provided token has expired. (Service: S3, "
        "Status Code: 400, Request ID: 1) (SDK Attempt Count: 1):ExpiredToken: The provided token has expired. "
        "(Service: S3, Status Code: 400, Request ID: 1) (SDK Attempt Count: 1)",
        "S3: the session token has expired. " + NEW_KEYS,
    ),
    "clock": (
        f"java.nio.file.AccessDeniedException: x: PUT 0-byte object  on x: {S3}: The difference between the request "
        "time and the server's time is too large. (Service: S3, Status Code: 403, Request ID: 1) (SDK Attempt Count: "
        "3):RequestTimeTooSkewed",
        "S3: this machine's clock differs too much from the store's. Set the clock.",
    ),
    "bucket gone": (
        f"{S3A}.UnknownStoreException: `s3a://lake/out/x': getFileStatus on s3a://lake/out/x: "
        "software.amazon.awssdk.services.s3.model.NoSuchBucketException: The specified bucket does not exist (Service: "
        "S3, Status Code: 404, Request ID: 1) (SDK Attempt Count: 1):NoSuchBucket",
        "s3://lake/out/x: there is no such bucket. Check the name and the endpoint.",
    ),
    "key gone": (
        f"java.nio.file.AccessDeniedException: x: PUT 0-byte object  on x: {S3}: The Access Key Id you provided does "
        "not exist in our records. (Service: S3, Status Code: 403, Request ID: 1) (SDK Attempt Count: 1):"
        "InvalidAccessKeyId",
        "S3: the store refuses the credentials. " + NEW_KEYS,
    ),
    "right or key gone, asked by HEAD": (
        f"java.nio.file.AccessDeniedException: s3a://lake/out/x: {STATUS}: Forbidden (Service: S3, Status Code: 403, "
        "Request ID: 18EA1DC0DEC7E792, Extended Request ID: 89c934):null",
        "s3://lake/out/x: access denied. " + UNNAMED,
    ),
    "right gone, asked by PUT": (
        f"java.nio.file.AccessDeniedException: y: PUT 0-byte object  on y: {S3}: Access Denied. (Service: S3, Status "
        "Code: 403, Request ID: 18EA, Extended Request ID: 0205) (SDK Attempt Count: 1):AccessDenied",
        "S3: access denied. " + UNNAMED,
    ),
    "right to the key gone": (
        f"java.nio.file.AccessDeniedException: s3a://lake/out/x: open s3a://lake/out/x at 0 on s3a://lake/out/x: {S3}: "
        f"{KEY_DENIED} (Service: S3, Status Code: 403, Request ID: 18EA, Extended Request ID: 0205) (SDK Attempt "
        f"Count: 1):AccessDenied: {KEY_DENIED} (Service: S3, Status Code: 403, Request ID: 18EA)",
        f"s3://lake/out/x: access denied: {KEY_DENIED}. Grant these credentials kms:Decrypt on {KEY}, or use others.",
    ),
    "key disabled": (
        f"{S3A}.AWSBadRequestException: PUT 0-byte object  on x: {S3}: {KEY} is disabled. (Service: S3, Status Code: "
        f"400, Request ID: 1) (SDK Attempt Count: 1):KMS.DisabledException: {KEY} is disabled. (Service: S3, Status "
        "Code: 400, Request ID: 1) (SDK Attempt Count: 1)",
        "S3: the store cannot use the encryption key. Check the key's state, its region, and --sse-kms-key-id.",
    ),
    "checksum demanded": (
        f"{S3A}.AWSBadRequestException: PUT 0-byte object  on x: "
        f"software.amazon.awssdk.services.s3.model.InvalidRequestException: {CHECKSUM} (Service: S3, Status Code: 400, "
        f"Request ID: 1) (SDK Attempt Count: 1):InvalidRequest: {CHECKSUM} (Service: S3, Status Code: 400, Request ID: "
        "1) (SDK Attempt Count: 1)",
        f"S3: the store refuses the request: {CHECKSUM}. Look it up in the store's documentation.",
    ),
    "credentials the JVM does not find": (
        f"java.nio.file.AccessDeniedException: s3a://lake/out/x: {S3A}.auth.NoAuthWithAWSException: No AWS Credentials",
        "s3://lake/out/x: Spark finds no credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    ),
    "store full": (
        f"{S3A}.AWSStatus500Exception: PUT 0-byte object  on x: {S3}: Storage backend has reached its minimum free "
        "drive threshold. (Service: S3, Status Code: 507, Request ID: 1) (SDK Attempt Count: 3):XMinioStorageFull",
        "S3: the store is full. Free some space there.",
    ),
    "store overloaded": (
        f"{S3A}.AWSServiceThrottledException: {STATUS}: Service Unavailable (Service: S3, Status Code: 503, Request "
        "ID: null):null: Service Unavailable (Service: S3, Status Code: 503, Request ID: null)",
        "s3://lake/out/x: the store is overloaded. " + RESUME,
    ),
    "store broken": (
        f"{S3A}.AWSStatus500Exception: {STATUS}: Internal Server Error (Service: S3, Status Code: 500, Request ID: "
        "null):null: Internal Server Error (Service: S3, Status Code: 500, Request ID: null)",
        "s3://lake/out/x: the store cannot be reached any more. " + RESUME,
    ),
    "bucket in another region": (
        f"{S3A}.AWSRedirectException: Received permanent redirect response to region null.  This likely indicates that "
        "the S3 region configured in fs.s3a.endpoint.region does not match the AWS region containing the bucket.: "
        "Moved Permanently (Service: S3, Status Code: 301, Request ID: null)",
        "S3: the bucket is in another region. Leave --region out, or give the bucket's region.",
    ),
    "store that lacks something": (
        f"{S3A}.AWSUnsupportedFeatureException: {STATUS}: Not Implemented (Service: S3, Status Code: 501, Request ID: "
        "null):null: Not Implemented (Service: S3, Status Code: 501, Request ID: null)",
        "s3://lake/out/x: the store lacks a feature that S3A needs. Use another store.",
    ),
    "nothing listens": (
        f"java.net.ConnectException: getFileStatus on s3a://lake/out/x: {CLIENT}: Unable to execute HTTP request: "
        "Connect to 127.0.0.1:27359 [/127.0.0.1] failed: Connection refused (SDK Attempt Count: 2): Connection refused",
        "s3://lake/out/x: the store cannot be reached any more. " + RESUME,
    ),
    "no such host": (
        f"java.net.UnknownHostException: getFileStatus on s3a://lake/out/x: {CLIENT}: Received an UnknownHostException "
        "when attempting to interact with a service. See cause for the exact endpoint that is failing to resolve.",
        "s3://lake/out/x: the store cannot be reached any more. " + RESUME,
    ),
    "no answer": (
        f"{S3A}.AWSApiCallTimeoutException: getFileStatus on s3a://lake/out/x: "
        "software.amazon.awssdk.core.exception.ApiCallTimeoutException: Client execution did not complete before the "
        "specified timeout configuration: 60000 millis",
        "s3://lake/out/x: the store cannot be reached any more. " + RESUME,
    ),
    "authority not trusted": (
        f"{S3A}.AWSClientIOException: getFileStatus on s3a://lake/out/x: {CLIENT}: Unable to execute HTTP request: "
        "PKIX path building failed: sun.security.provider.certpath.SunCertPathBuilderException: unable to find valid "
        "certification path to requested target (SDK Attempt Count: 4)",
        "s3://lake/out/x: the store's certificate is not trusted. Give its authority's certificate with --ca-bundle.",
    ),
}


class Py4JJavaError(Exception):
    """An error with the text and the stack of Py4J's own, which needs a JVM."""

    def __init__(self, text: str) -> None:
        super().__init__(
            f"An error occurred while calling o393.parquet.\n: {text}\n"
            f"\tat {S3A}.S3AUtils.translateException(S3AUtils.java:232)\n"
            f"\tat {S3A}.S3AFileSystem.innerGetFileStatus(S3AFileSystem.java:3976)\n"
            "\tat java.base/java.lang.Thread.run(Thread.java:840)\n"
        )


@pytest.mark.parametrize("fault", MET)
def test_s3a_errors_are_translated(fault: str) -> None:
    text, line = MET[fault]
    translated = failures.explain(Py4JJavaError(text))
    assert type(translated) is StoreError
    assert translated.line == line


@pytest.mark.parametrize(
    ("text", "kind", "start"),
    [
        (
            "pyspark.errors.PythonException: Traceback (most recent call last):\n  File ...\n"
            "verger.errors.StoreError: s3://lake/in/a.png: the session token has expired. Get new credentials.\n\n\tat",
            StoreError,
            "s3://lake/in/a.png: the session token has expired. Get new credentials.",
        ),
        ("java.io.IOException: No space left on device\n\tat java.io", DoesNotFitError, "no space left on disk"),
        ("java.lang.OutOfMemoryError: Java heap space", DoesNotFitError, "Spark ran out of memory"),
        ("py4j.protocol.Py4JNetworkError: Answer from Java side is empty", JvmLostError, "Spark's JVM died"),
        (
            "java.lang.OutOfMemoryError: unable to create native thread: possibly out of memory or process limits",
            DoesNotFitError,
            "the system starts no more processes or threads for this user. Raise the limit",
        ),
        (
            "org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 1.0 failed 8 times, "
            "most recent failure: Lost task 0.7 in stage 1.0 (TID 7) (10.0.0.8 executor 8): ExecutorLostFailure "
            "(executor 8 exited caused by one of the running tasks) Reason: \nThe executor with id 8 exited with exit "
            "code 137(SIGKILL, possible container OOM).\n",
            DoesNotFitError,
            "executors were killed, as the kernel does where a container's memory is short. Give them more memory",
        ),
        (
            "org.apache.spark.api.python.PythonException: Traceback\nMemoryError\n",
            DoesNotFitError,
            "a Python worker ran out of memory. Give fewer --cores",
        ),
        (
            "PythonException: Traceback\nnumpy._core._exceptions._ArrayMemoryError: Unable to allocate 1 GiB\n",
            DoesNotFitError,
            "a Python worker ran out of memory. Give fewer --cores",
        ),
        (
            "PythonException: Traceback\npyarrow.lib.ArrowMemoryError: malloc of size 64 failed\n",
            DoesNotFitError,
            "a Python worker ran out of memory. Give fewer --cores",
        ),
        (
            "SparkIllegalArgumentException: [INVALID_DRIVER_MEMORY] System memory 20971520 must be at least 471859200.",
            DoesNotFitError,
            "Spark does not start with so little memory. Give more --driver-memory.",
        ),
        (
            "PySparkRuntimeError: [PYTHON_VERSION_MISMATCH] Python in worker has different version: 3.9 than that in "
            "driver: 3.11, PySpark cannot run with different minor versions.",
            UsageError,
            "Python in worker has different version: 3.9 than that in driver: 3.11. Under spark-submit let",
        ),
        ("ModuleNotFoundError: No module named 'verger'", UsageError, "Spark's Python workers have no module verger."),
        (
            "org.apache.spark.SparkException: EOFException occurred while reading the port number from "
            "verger.network.daemon's stdout.",
            UsageError,
            "the process from which Spark forks Python workers ended: it lacks verger, or died as it imported",
        ),
        (
            'java.io.IOException: Cannot run program "/gone/python": error=2, No such file or directory',
            UsageError,
            "Spark cannot start /gone/python: No such file or directory.",
        ),
        (
            "java.lang.UnsatisfiedLinkError: /tmp/libzstd-jni-1.so: /tmp/libzstd-jni-1.so: failed to map segment from "
            "shared object",
            UsageError,
            "/tmp/libzstd-jni-1.so cannot be loaded: its folder is mounted noexec.",
        ),
        (
            "An error occurred while calling None.org.apache.spark.api.java.JavaSparkContext. : java.lang."
            "NoClassDefFoundError: software/amazon/s3/analyticsaccelerator/request/Constants at org.apache.hadoop",
            UsageError,
            "Spark cannot write its event log to S3: the class software/amazon/s3/analyticsaccelerator/request/"
            "Constants cannot be loaded. Fetch the jars",
        ),
        (
            "java.lang.RuntimeException: java.lang.ClassNotFoundException: Class org.apache.hadoop.fs.s3a."
            "S3AFileSystem not found",
            UsageError,
            "Spark cannot write its event log to S3: the class org.apache.hadoop.fs.s3a.S3AFileSystem cannot be",
        ),
        (
            "org.apache.hadoop.security.AccessControlException: Permission denied: user=x, path=/out",
            StoreError,
            "access denied: AccessControlException: Permission denied: user=x, path=/out",
        ),
    ],
    ids=[
        "worker",
        "disk",
        "memory",
        "jvm",
        "threads",
        "container's memory",
        "worker's memory",
        "numpy in a worker",
        "Arrow in a worker",
        "little memory",
        "version",
        "module",
        "daemon",
        "python",
        "noexec",
        "jar",
        "jars",
        "folder",
    ],
)
def test_other_errors_are_translated(text: str, kind: type[Exception], start: str) -> None:
    translated = failures.explain(Exception(text))
    assert type(translated) is kind
    assert translated.line.startswith(start)


def test_a_defect_is_not_translated() -> None:
    error = ValueError("[PATH_NOT_FOUND] Path does not exist: s3a://lake/absent. SQLSTATE: 42K03")
    assert failures.explain(error) is None
    with pytest.raises(ValueError, match="PATH_NOT_FOUND"), failures.translate_errors():
        raise error


def test_a_translated_error_keeps_the_cause() -> None:
    error = Py4JJavaError(MET["no answer"][0])
    with pytest.raises(StoreError) as known, failures.translate_errors():
        raise error
    assert known.value.__cause__ is error


# Words of Java about a disk -> the class of the error and what the user reads.
DISK = {
    "chmod refused": (
        "Py4JJavaError: An error occurred while calling None.org.apache.spark.api.java.JavaSparkContext.\n: "
        "ExitCodeException exitCode=1: chmod: changing permissions of '/mnt/events/x': Function not "
        "implemented\n\n\tat org.apache.hadoop.util.Shell",
        StoreError,
        "Spark cannot set permissions: chmod: changing permissions of '/mnt/events/x': Function not implemented. "
        "Give an --event-log whose file system lets this user set them, as chmod does.",
    ),
    "read-only": (
        "java.io.FileNotFoundException: /mnt/out/x/part-0.parquet (Read-only file system)\n\tat java.base/java.io",
        StoreError,
        "/mnt/out/x/part-0.parquet: Read-only file system. Mount it for writing, or choose another folder.",
    ),
    "disk broken": (
        "java.io.IOException: Input/output error\n\tat java.base/java.io.FileOutputStream",
        StoreError,
        "what Spark reads or writes: Input/output error. Check the disk, or the mount.",
    ),
    "largest file of FAT": (
        "java.io.IOException: File too large\n\tat java.base/java.io.FileOutputStream",
        DoesNotFitError,
        "what Spark reads or writes: File too large. Its file system or a limit (ulimit -f) allows no larger file: "
        "choose another folder.",
    ),
    "no folder": (
        "java.io.IOException: Mkdirs failed to create file:/mnt/out/x (exists=false, cwd=file:/)",
        StoreError,
        "Spark cannot create the folder /mnt/out/x. Check that this user can create folders there.",
    ),
}


@pytest.mark.parametrize("what", DISK)
def test_what_a_disk_cannot_do_is_named(what: str) -> None:
    text, error, line = DISK[what]
    found = failures.explain(RuntimeError(text))
    assert type(found) is error
    assert found.line == line


def test_a_connection_to_a_store_that_breaks_is_no_matter_of_a_disk() -> None:
    text = "put on s3a://lake/out/x: java.net.SocketException: Transport endpoint is not connected"
    found = failures.explain(RuntimeError(text))
    assert found is None or "disk" not in found.line
