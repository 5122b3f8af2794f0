"""storage/stores: which bucket is reached how, and for how long its store is waited for."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import verger
from tests.conftest import ROOT
from tests.unit.s3_answers import Store
from verger.config import RunConfig
from verger.errors import VergerError
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


def test_any_other_bucket_is_reached_by_the_settings_first(example_keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://another.example:9000")
    settings = RunConfig(input="in", output="out", endpoint_url="https://store.example:9000", region="eu-west-3")
    bucket = Stores(settings=settings).bucket("results")
    assert (bucket.endpoint_url, bucket.region) == ("https://store.example:9000", "eu-west-3")


def test_results_are_read_by_the_settings_of_their_run(example_keys: None, store: Store) -> None:
    """A notebook that names the endpoint in its RunConfig alone must not ask AWS for the bucket of another store."""
    settings = RunConfig(input="in", output="s3://results/out", endpoint_url=f"http://127.0.0.1:{store.port}")
    for load in (verger.load, verger.load_features):
        store.seen.clear()
        with pytest.raises(VergerError):
            load(settings.output, settings=settings)
        assert any("results" in asked for asked in store.seen)


def test_threads_share_one_client(example_keys: None) -> None:
    """As the threads of a Python worker do that read its first photographs."""
    stores, together = Stores([LAKE]), threading.Barrier(8)

    def client(_: int) -> object:
        together.wait()
        return stores.client(LAKE)

    with ThreadPoolExecutor(8) as pool:
        assert len({id(made) for made in pool.map(client, range(8))}) == 1


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
