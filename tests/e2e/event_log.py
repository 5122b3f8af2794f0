"""Spark's event log of a run, read back from the store."""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import Any

import pyarrow as pa


def read(store: Any, bucket: str, prefix: str, application: str) -> list[dict[str, Any]]:
    """All events of one application, in order."""
    listed = store.Bucket(bucket).objects.filter(Prefix=f"{prefix}/")
    keys = sorted(found.key for found in listed if application in found.key and "events_" in found.key)
    assert keys, f"no event log of {application} below {bucket}/{prefix}"
    events: list[dict[str, Any]] = []
    for key in keys:
        body = store.Object(bucket, key).get()["Body"].read()
        with pa.CompressedInputStream(io.BytesIO(body), "zstd") as stream:
            events += [json.loads(line) for line in stream.read().decode().splitlines()]
    return events


def tasks_by_executor(events: list[dict[str, Any]], description: str) -> Counter[str]:
    """How many tasks of the jobs whose description begins so each executor ended well."""
    stages = {
        stage
        for event in events
        if event["Event"] == "SparkListenerJobStart"
        and (event.get("Properties") or {}).get("spark.job.description", "").startswith(description)
        for stage in event["Stage IDs"]
    }
    return Counter(
        event["Task Info"]["Executor ID"]
        for event in events
        if event["Event"] == "SparkListenerTaskEnd"
        and event["Stage ID"] in stages
        and event["Task End Reason"]["Reason"] == "Success"
    )
