"""Spark's side of S3: the jars of S3A, its settings, and the committer that makes whole directories appear."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from verger.config import SparkSettings
from verger.errors import UsageError
from verger.spark import truststore
from verger.storage import credentials
from verger.storage.buckets import Bucket

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COMMIT_PROTOCOL = "org.apache.spark.internal.io.cloud.PathOutputCommitProtocol"
_NEEDED = (
    "org.apache.hadoop.fs.s3a.S3AFileSystem",
    COMMIT_PROTOCOL,
    "org.apache.spark.internal.io.cloud.BindingParquetOutputCommitter",
    "org.apache.hadoop.fs.s3a.commit.magic.MagicS3GuardCommitter",
)
_ADVICE = "Get them with `make jars`, or name their folder in VERGER_JARS"

# A store that restarts is waited for, about a minute a call; one that is gone is not waited for longer. S3A waits
# 2, 4, 8 .. intervals, give or take a half: by its own limit of 20, a store that is overloaded for good for days.
_PATIENCE = {
    "fs.s3a.attempts.maximum": "3",
    "fs.s3a.retry.limit": "5",
    "fs.s3a.retry.interval": "1s",
    "fs.s3a.retry.throttle.limit": "7",
    "fs.s3a.retry.throttle.interval": "500ms",
    "fs.s3a.connection.establish.timeout": "15s",  # the least that S3A takes without a warning
    "fs.s3a.connection.timeout": "30s",
}
# Every task uploads its files in parts that nobody sees; the job's commit completes the uploads. Nothing is renamed,
# and a task that ran twice or died leaves nothing to be read.
_MAGIC = {
    "spark.hadoop.fs.s3a.committer.name": "magic",
    "spark.hadoop.fs.s3a.committer.magic.enabled": "true",
    "spark.hadoop.mapreduce.outputcommitter.factory.scheme.s3a": (
        "org.apache.hadoop.fs.s3a.commit.S3ACommitterFactory"
    ),
    "spark.sql.sources.commitProtocolClass": COMMIT_PROTOCOL,
    "spark.sql.parquet.output.committer.class": "org.apache.spark.internal.io.cloud.BindingParquetOutputCommitter",
}


def settings(buckets: Iterable[Bucket], settings: SparkSettings) -> dict[str, str]:
    """What Spark must know to reach these buckets as boto3 reaches them.

    Raises
    ------
    StoreError
        There are no credentials that the JVM could find.
    """
    s3a = {
        **_PATIENCE,
        "fs.s3a.aws.credentials.provider": credentials.java_provider(),
        "fs.s3a.cross.region.access.enabled": "false",  # a bucket elsewhere is refused, not followed
        "fs.s3a.input.stream.type": "classic",
    }
    if settings.local_dir:
        s3a["fs.s3a.buffer.dir"] = os.path.abspath(settings.local_dir)
    for bucket in buckets:
        own = f"fs.s3a.bucket.{bucket.name}"
        s3a[f"{own}.path.style.access"] = str(bucket.path_style).lower()
        if bucket.region:
            s3a[f"{own}.endpoint.region"] = bucket.region
        if bucket.endpoint_url:
            s3a[f"{own}.endpoint"] = bucket.endpoint_url
            s3a[f"{own}.connection.ssl.enabled"] = str(bucket.endpoint_url.startswith("https:")).lower()
    return _MAGIC | {f"spark.hadoop.{name}": value for name, value in s3a.items()}


def jars_folder() -> Path | None:
    """The folder of S3A's jars: VERGER_JARS, else where `make jars` puts them, or Spark's own; None if not there."""
    pyspark = importlib.util.find_spec("pyspark")
    # Under spark-submit, which sets SPARK_HOME, pyspark is a zip in it.
    spark = os.environ.get("SPARK_HOME") or (pyspark and pyspark.origin and os.path.dirname(pyspark.origin))
    installed = [os.path.join(sys.prefix, "share", "verger", "jars"), os.path.join(spark, "jars") if spark else None]
    named = os.environ.get("VERGER_JARS")
    folders = [Path(folder) for folder in ([named] if named else installed) if folder]
    return next((folder for folder in folders if list(folder.glob("hadoop-aws-*.jar"))), None)


def class_path() -> str:
    """The jars as an entry of a class path.

    Raises
    ------
    UsageError
        They are not installed.
    """
    folder = jars_folder()
    if folder is None:
        named = os.environ.get("VERGER_JARS")
        raise UsageError(
            f"Spark lacks the jars by which it writes to S3{f': there are none in {named}' if named else ''}", _ADVICE
        )
    return str(folder.absolute() / "*")


def trusting(store: Path, buckets: Iterable[Bucket]) -> list[str]:
    """The JVM's options where a bucket needs an authority of its own; its trust store is put at ``store``."""
    bundles = {bucket.ca_bundle for bucket in buckets if bucket.ca_bundle}
    if not bundles:
        return []
    store.write_bytes(truststore.make(sorted(bundles)))
    return [truststore.options(str(store))]


def require_committer(spark: SparkSession) -> None:
    """See that S3A and its committer load: without it Spark renames, and a directory may appear by halves.

    Raises
    ------
    UsageError
        One of their classes does not load.
    """
    for name in _NEEDED:
        try:
            spark._jvm.java.lang.Class.forName(name)  # type: ignore[union-attr]
        except Exception as error:  # Py4J's, for ClassNotFoundException and NoClassDefFoundError
            raise UsageError(f"Spark cannot write to S3: {name} does not load", _ADVICE) from error
