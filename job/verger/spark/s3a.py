"""Hadoop's S3A, by which Spark writes its event log to S3: its jars and its settings. All else is boto3's."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from verger.config import SparkSettings
from verger.errors import UsageError
from verger.spark import failures, truststore, variables
from verger.storage import credentials
from verger.storage.buckets import Bucket
from verger.storage.uri import S3

_FILE_SYSTEM = "org.apache.hadoop.fs.s3a.S3AFileSystem"

# Each call waits for about a minute: long enough for a store that restarts. S3A waits 2, 4, 8, ... intervals, each
# varied at random by half: with its own limit of 20 retries it would wait for days.
_RETRIES = {
    "fs.s3a.attempts.maximum": "3",
    "fs.s3a.retry.limit": "5",
    "fs.s3a.retry.interval": "1s",
    "fs.s3a.retry.throttle.limit": "7",
    "fs.s3a.retry.throttle.interval": "500ms",
    "fs.s3a.connection.establish.timeout": "15s",  # the lowest value that S3A accepts without a warning
    "fs.s3a.connection.timeout": "30s",
}
# The value of S3's header -> S3A's name for it.
_ENCRYPTION = {"AES256": "AES256", "aws:kms": "SSE-KMS", "aws:kms:dsse": "DSSE-KMS"}


def spark_settings(buckets: Iterable[Bucket], settings: SparkSettings) -> dict[str, str]:
    """Spark's settings with which S3A reaches buckets as boto3 does.

    Parameters
    ----------
    buckets : iterable of Bucket
        Each gets its own endpoint, region, addressing and encryption.
    settings : SparkSettings
        Files are buffered in ``local_dir``.

    Returns
    -------
    dict of str to str
        No key or other secret is among them.

    Raises
    ------
    StoreError
        There are no credentials that the JVM can find.
    """
    s3a = {
        **_RETRIES,
        "fs.s3a.aws.credentials.provider": credentials.java_provider(),
        "fs.s3a.cross.region.access.enabled": "false",  # a bucket in another region is refused
        "fs.s3a.input.stream.type": "classic",
    }
    if settings.local_dir:
        s3a["fs.s3a.buffer.dir"] = os.path.abspath(settings.local_dir)
    for bucket in buckets:
        prefix = f"fs.s3a.bucket.{bucket.name}"
        s3a[f"{prefix}.path.style.access"] = str(bucket.path_style).lower()
        if bucket.region:
            s3a[f"{prefix}.endpoint.region"] = bucket.region
        if bucket.endpoint_url:
            s3a[f"{prefix}.endpoint"] = bucket.endpoint_url
            s3a[f"{prefix}.connection.ssl.enabled"] = str(bucket.endpoint_url.startswith("https:")).lower()
        if bucket.is_aws:  # demanded where objects are locked for a time; boto3 sends it to AWS alone, too
            s3a[f"{prefix}.create.checksum.algorithm"] = "CRC32"
        if bucket.sse:
            s3a[f"{prefix}.encryption.algorithm"] = _ENCRYPTION[bucket.sse]
        if bucket.sse_kms_key_id:
            s3a[f"{prefix}.encryption.key"] = bucket.sse_kms_key_id
        if bucket.requester_pays:
            s3a[f"{prefix}.requester.pays.enabled"] = "true"
    return {f"spark.hadoop.{name}": value for name, value in s3a.items()}


def jars_folder() -> Path | None:
    """The folder with S3A's jars: VERGER_JARS, else where `make jars` puts them, else Spark's own.

    Returns
    -------
    Path or None
        None where they are not installed.
    """
    pyspark = importlib.util.find_spec("pyspark")
    # Under spark-submit, which sets SPARK_HOME, pyspark is a zip in it.
    submitted = variables.is_submitted() and os.environ.get("SPARK_HOME")
    spark = submitted or (pyspark and pyspark.origin and os.path.dirname(pyspark.origin))
    installed = [os.path.join(sys.prefix, "share", "verger", "jars"), os.path.join(spark, "jars") if spark else None]
    named = os.environ.get("VERGER_JARS")
    folders = [Path(folder) for folder in ([named] if named else installed) if folder]
    return next((folder for folder in folders if list(folder.glob("hadoop-aws-*.jar"))), None)


def class_path() -> str:
    """The jars as an entry of a class path.

    Returns
    -------
    str
        The folder's absolute path with ``/*``, which Java reads as all jars in it.

    Raises
    ------
    UsageError
        They are not installed.
    """
    folder = jars_folder()
    if folder is None:
        named = os.environ.get("VERGER_JARS")
        raise UsageError(
            f"Spark lacks the jars with which it writes its event log to S3{f': none is in {named}' if named else ''}",
            failures.MISSING_JARS,
        )
    return str(folder.absolute() / "*")


def trust_store_options(path: Path, buckets: Iterable[Bucket]) -> list[str]:
    """Write a trust store for the JVM where a bucket has a CA bundle, and give the JVM's options for it.

    Parameters
    ----------
    path : Path
        File to write.
    buckets : iterable of Bucket
        Their CA bundles go into the trust store.

    Returns
    -------
    list of str
        Empty where no bucket has a CA bundle.

    Raises
    ------
    UsageError
        A bundle is not a PEM file.
    """
    bundles = {bucket.ca_bundle for bucket in buckets if bucket.ca_bundle}
    if not bundles:
        return []
    path.write_bytes(truststore.make(sorted(bundles)))
    return [truststore.options(str(path))]


def uri(path: str) -> str:
    """The URI by which Spark reaches a folder of a bucket.

    Parameters
    ----------
    path : str
        Canonical.

    Returns
    -------
    str
        ``s3a://``, not percent-encoded.
    """
    return "s3a://" + path.removeprefix(S3)


def require_file_system(jvm: Any) -> None:
    """Check that S3A can be loaded.

    Parameters
    ----------
    jvm : py4j.java_gateway.JVMView
        It has to load the class.

    Raises
    ------
    UsageError
        The class, or one that it needs, cannot be loaded.
    """
    try:
        jvm.java.lang.Class.forName(_FILE_SYSTEM)
    except Exception as error:  # Py4J's, for ClassNotFoundException and NoClassDefFoundError
        reason = f"Spark cannot write its event log to S3: the class {_FILE_SYSTEM} cannot be loaded"
        raise UsageError(reason, failures.MISSING_JARS) from error
