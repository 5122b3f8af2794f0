"""What names/NAME.json tells of failed attempts in a bucket: of several at once, and where a policy denies it."""

from __future__ import annotations

import io
import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.s3 import Minio
from tests.integration.s3_runs import reach
from verger.config import RunConfig
from verger.errors import DoesNotFitError
from verger.pipeline.recording import Recorder
from verger.pipeline.values import Job
from verger.progress import Progress
from verger.residency.guard import Residency
from verger.storage.stores import Stores
from verger.tables import runs

pytestmark = pytest.mark.required_in_ci

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def started(bucket: str, minute: int, stores: Stores) -> Job:
    """An attempt that has begun and written nothing."""
    config = RunConfig(input=f"s3://{bucket}/in", output=f"s3://{bucket}/out")
    at = NOON + timedelta(minutes=minute)
    run = runs.new_run(stores.of(config.output), config.output, config.name, at)
    return Job(run, config, stores, Progress(io.StringIO()), at, Residency([], {}, []))


def failed(job: Job) -> None:
    with pytest.raises(DoesNotFitError), Recorder(job).failures():
        raise DoesNotFitError("no memory", "Give more")


def kept(minio: Minio, bucket: str, key: str) -> Any:
    return json.loads(minio.client().get_object(Bucket=bucket, Key=f"out/{key}")["Body"].read())


def test_of_attempts_that_fail_at_once_the_last_is_told(minio: Minio, monkeypatch: pytest.MonkeyPatch) -> None:
    reach(minio, monkeypatch)
    bucket, stores = minio.bucket(), Stores()
    jobs = [started(bucket, minute, stores) for minute in range(6)]
    threads = [threading.Thread(target=failed, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = kept(minio, bucket, "names/verger.json")
    assert (told["run_id"], told["failed"]["run_id"]) == (None, jobs[-1].run.run_id)
    assert kept(minio, bucket, told["failed"]["failure"])["message"] == "no memory. Give more."
    assert runs.latest(stores.of(f"s3://{bucket}/out"), f"s3://{bucket}/out", "verger") is None


def test_a_policy_that_denies_names_hides_neither_the_failure_nor_its_record(
    minio: Minio, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(minio, monkeypatch)
    bucket = minio.bucket()
    allowed = {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}
    denied = {"Effect": "Deny", "Action": ["s3:*"], "Resource": [f"arn:aws:s3:::{bucket}/out/names/*"]}
    key, secret = minio.user({"Version": "2012-10-17", "Statement": [allowed, denied]})
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    job = started(bucket, 0, Stores())
    failed(job)
    assert kept(minio, bucket, f"runs/{job.run.run_id}/failure.json")["exit_code"] == 8
    assert minio.client().list_objects_v2(Bucket=bucket, Prefix="out/names/")["KeyCount"] == 0
    assert not job.stores.fail_fast.is_set()
