"""Whole runs on buckets: what they leave there is what runs on folders leave, uploaded by boto3."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import verger
from tests.integration.runs import finished, photograph
from tests.integration.s3 import Minio, Server
from tests.integration.s3_runs import COUNT, Place, Tables, reach

pytestmark = pytest.mark.required_in_ci

# After the listing, and before the first photograph is read, two photographs are not what they were.
MEANWHILE = """
import boto3
from verger.pipeline import stages
take = stages.list_photographs
def then_change(job, *first):
    listed = take(job, *first)
    client, bucket = boto3.client("s3"), "{bucket}"
    client.upload_file("in/label 0/0000.png", bucket, "in/label 1/0001.png")
    client.delete_object(Bucket=bucket, Key="in/label 2/0002.png")
    return listed
stages.list_photographs = then_change
"""

# Waits, all but done, until a file says that the other run has published.
OLDER = """
import os, time
from verger.tables import manifest
publish = manifest.publish
def late(*arguments):
    while not os.path.exists("go"):
        time.sleep(0.1)
    publish(*arguments)
manifest.publish = late
"""


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def twice(minio: Minio, tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> tuple[Place, list]:
    """A bucket over which a run went, and then another, and the JSON lines of the second. There are no jars of S3A."""
    reach(minio, patch)
    patch.setenv("VERGER_JARS", "/nowhere")
    place = Place.make(minio, tmp_path_factory.mktemp("twice"))
    for arguments in (["--csv"], []):
        code, stderr, lines = finished(place.start(*arguments))
        assert code == 0, stderr
    return place, lines


def test_the_tables_are_those_of_a_run_on_folders(twice: tuple[Place, list], expected: Tables) -> None:
    place, _ = twice
    place.assert_whole(expected)
    (csv,) = place.keys("out/runs/", ".csv")
    assert place.get(csv).count(b"\n") == COUNT + 1
    first, second = (
        verger.load(f"{place.output}/runs/{found['run_id']}") for found in place.documents("manifest.json")
    )
    assert first.equals(second)  # to the last bit: same stored features, same table
    assert first["path"].to_pylist() == sorted(f"s3://{place.bucket}/{key}" for key in place.keys("in/"))


def test_files_appear_complete_and_nothing_else_is_left(twice: tuple[Place, list]) -> None:
    place, _ = twice
    keys = place.keys("out/")
    assert [key for key in keys if key.endswith("/")] == []  # objects with which S3A kept folders
    tables = [key for key in keys if key.startswith("out/features/") or "/projection/" in key]
    folders = {key.rpartition("/")[0] for key in tables}
    assert len(folders) == 4  # three waves, and the projection of the first run: that stands for the second
    assert [key for key in tables if not key.endswith(".parquet")] == []
    assert not any(place.in_parts(key) for key in tables)  # a small file is one PUT
    assert place.uploads() == []
    assert [key for key in place.keys("") if "__magic" in key or "_temporary" in key] == []


def test_a_second_run_over_an_unchanged_bucket_reads_no_photograph(twice: tuple[Place, list]) -> None:
    place, lines = twice
    counts = {name: lines[-1][name] for name in ("listed", "known", "computed", "rejected", "projected")}
    assert counts == {"listed": COUNT, "known": COUNT, "computed": 0, "rejected": 0, "projected": COUNT}
    assert "features" not in {line.get("stage") for line in lines}
    assert len(place.stored()) == COUNT


@pytest.mark.slow
def test_a_photograph_that_changes_or_vanishes_meanwhile_is_never_a_wrong_feature(
    minio: Minio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(minio, monkeypatch)
    place = Place.make(minio, tmp_path)
    changed, vanished = f"{place.input}/label 1/0001.png", f"{place.input}/label 2/0002.png"
    code, stderr, _ = finished(place.start(inject=MEANWHILE.format(bucket=place.bucket)))
    assert code == 0, stderr
    (first,) = place.documents("manifest.json")
    assert first["rejected_by_reason"] == {"changed": 1, "vanished": 1}
    assert (first["photographs"]["computed"], first["photographs"]["projected"]) == (COUNT - 2, COUNT - 2)
    assert not {changed, vanished} & {*place.stored(), *verger.load(place.output)["path"].to_pylist()}

    place.put("in/label 2/0002.png", photograph(tmp_path / "another.png", seed=2222).read_bytes())
    code, stderr, lines = finished(place.start())
    assert code == 0, stderr
    assert (lines[-1]["known"], lines[-1]["computed"], lines[-1]["rejected"]) == (COUNT - 2, 2, 0)
    digests = {row["path"]: row["sha256"] for row in verger.load_features(place.output).to_pylist()}
    for path in (changed, vanished):
        assert digests[path] == hashlib.sha256(place.get(path.removeprefix(f"s3://{place.bucket}/"))).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["minio", "versity"])
def test_of_two_runs_at_once_the_later_is_the_latest(
    request: pytest.FixtureRequest, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: Tables
) -> None:
    server: Server = request.getfixturevalue(name)
    reach(server, monkeypatch)
    place = Place.make(server, tmp_path)
    older = place.start(inject=OLDER)
    assert older.stderr is not None
    assert json.loads(older.stderr.readline())["event"] == "stage"  # it has begun
    code, stderr, younger = finished(place.start())
    assert code == 0, stderr
    assert list(place.documents("failure.json")) == []
    (tmp_path / "go").touch()
    code, stderr, lines = finished(older)
    assert code == 0, stderr
    for pointer in ("latest.json", "names/verger.json"):
        assert json.loads(place.get(f"out/{pointer}"))["run_id"] == younger[-1]["run_id"] != lines[-1]["run_id"]
    manifests = sorted(place.documents("manifest.json"), key=lambda found: found["started_at"])
    assert [found["photographs"]["projected"] for found in manifests] == [COUNT, COUNT]
    assert manifests[0]["started_at"] < manifests[1]["started_at"] < manifests[0]["finished_at"]
    assert len(place.stored()) >= COUNT  # both may have computed some: whoever reads takes each once
    place.assert_whole(expected)
    assert place.uploads() == []
