"""storage/stores: which bucket is reached how, and for how long its store is waited for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT
from verger.storage.buckets import Bucket
from verger.storage.local import LocalStorage
from verger.storage.s3 import S3Storage
from verger.storage.stores import Stores

LAKE = Bucket("lake", "eu-west-3", "http://127.0.0.1:9", path_style=True)


def test_a_path_is_local_and_needs_no_boto3() -> None:
    assert isinstance(Stores().of("/a/b"), LocalStorage)
    script = "import sys; from verger.storage.stores import Stores; Stores().of('/a'); print('boto3' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(ROOT / "job")}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "False", done.stderr


def test_a_bucket_is_reached_as_it_was_connected(example_keys: None) -> None:
    stores = Stores()
    stores.connect(LAKE)
    found = stores.of("s3://lake/a/b")
    assert isinstance(found, S3Storage)
    assert found.bucket == LAKE == stores.bucket("lake")
    assert stores.buckets == (LAKE,)


def test_any_other_bucket_is_reached_as_the_environment_says(
    example_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://store.example:9000")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    bucket = Stores([LAKE]).bucket("photographs")
    assert (bucket.endpoint_url, bucket.region) == ("https://store.example:9000", "eu-north-1")


def test_stores_of_one_command_know_nothing_of_another_s() -> None:
    first, second = Stores(), Stores()
    first.connect(LAKE)
    first.fail_fast.set()
    assert second.buckets == ()
    assert not second.fail_fast.is_set()


def test_a_client_is_made_once_for_each_patience(example_keys: None) -> None:
    stores = Stores([LAKE])
    patient, hasty = stores.client(LAKE), stores.client(LAKE, patient=False)
    assert patient is stores.client(LAKE)
    assert hasty is stores.client(LAKE, patient=False) is not patient


def test_no_client_is_patient_once_the_run_is_over(example_keys: None) -> None:
    stores = Stores([LAKE])
    storage = stores.of("s3://lake/a")
    assert isinstance(storage, S3Storage)
    patient = storage.client
    stores.fail_fast.set()
    assert storage.client is stores.client(LAKE, patient=False) is not patient
    stores.fail_fast.clear()
    assert storage.client is patient
