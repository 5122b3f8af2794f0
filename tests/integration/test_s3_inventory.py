"""Runs by a report of S3 Inventory: the same photographs as by a listing, known by the same versions."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import verger
from tests.integration.runs import finished, photograph
from tests.integration.runs import verger as start
from tests.integration.s3 import Minio
from tests.integration.s3_runs import COUNT, SHAPE, Place, reach
from tests.inventories import Listed, report
from verger.config import PruneSettings, RunConfig
from verger.photographs import inventory
from verger.pipeline import maintenance
from verger.planning.plan import plan
from verger.progress import Progress
from verger.storage.s3_inventory import Report
from verger.storage.stores import Stores
from verger.tables.manifest import Manifest

pytestmark = pytest.mark.required_in_ci


@pytest.fixture
def photographs(minio: Minio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A bucket with photographs; runs write to a disk, for which Spark needs no jars."""
    reach(minio, monkeypatch)
    return Place.make(minio, tmp_path)


def listed(place: Place, below: str = "") -> list[Listed]:
    """What AWS would report of the bucket now."""
    pages = place.server.client().get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=below)
    return [Listed(it["Key"], it["Size"], it["ETag"].strip('"')) for page in pages for it in page["Contents"]]


def put(place: Place, reports: str, objects: list[Listed], kind: str, age: timedelta) -> str:
    """Put a report of the bucket into the bucket of reports: the folder of the configuration."""
    client = place.server.client()
    for key, data in report(objects, kind, bucket=place.bucket, began=datetime.now(UTC) - age).items():
        client.put_object(Bucket=reports, Key=key, Body=data)
    return f"s3://{reports}/inventory/{place.bucket}/daily"


@pytest.mark.parametrize("kind", ["CSV", "Parquet", "ORC"])
def test_a_report_in_a_bucket_gives_what_a_listing_gives(photographs: Place, kind: str) -> None:
    """Its files are read in ranges, and some of the objects were uploaded in parts."""
    for number in range(2):
        key = f"in/label 1/parts+{number} é.jpg"
        client = photographs.server.client()
        upload = client.create_multipart_upload(Bucket=photographs.bucket, Key=key)["UploadId"]
        where = {"Bucket": photographs.bucket, "Key": key, "UploadId": upload}
        part = client.upload_part(**where, PartNumber=1, Body=b"\xff\xd8" + bytes(number))
        parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
        client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    photographs.put("notes.txt", b"no photograph, and not in the input")
    reports, stores = photographs.server.bucket(), Stores()
    many = [Listed(f"elsewhere/{number * 7919:032x}.jpg", number, f"{number:032x}") for number in range(20_000)]
    uri = put(photographs, reports, [*many, *listed(photographs)], kind, timedelta())
    found = inventory.take(photographs.input, stores, report=Report.open(uri, photographs.input, stores))
    expected = inventory.take(photographs.input, Stores())
    assert expected.photographs.num_rows == COUNT + 2
    assert found.photographs.to_table().equals(expected.photographs.to_table())


@pytest.mark.slow
def test_a_run_by_report_and_a_run_by_listing_know_the_same_photographs(photographs: Place, tmp_path: Path) -> None:
    place, output, reports = photographs, str(tmp_path / "table"), photographs.server.bucket()
    places = ["--input", place.input, "--output", output, "--store-location", "eu", *SHAPE]
    quick = ["--backbone", "pixels", "--input-size", "8", "--no-audit", "--compact", "never"]

    def run(*more: str) -> dict[str, Any]:
        code, stderr, _ = finished(start("run", *places, *quick, *more, cwd=tmp_path))
        assert code == 0, stderr
        latest = json.loads((tmp_path / "table" / "latest.json").read_text())
        document: dict[str, Any] = json.loads((tmp_path / "table" / latest["manifest"]).read_text())
        return document

    old = put(place, reports, listed(place), "Parquet", timedelta(days=3))
    place.server.client().delete_object(Bucket=place.bucket, Key="in/label 2/0002.png")
    place.put("in/label 1/0001.png", photograph(tmp_path / "another.png", seed=1111).read_bytes())
    first = run("--inventory", old)
    assert first["rejected_by_reason"] == {"changed": 1, "vanished": 1}
    assert (first["photographs"]["listed"], first["photographs"]["computed"]) == (COUNT, COUNT - 2)
    assert [line for line in first["warnings"] if "manifest.json is 3.0 days old" in line]
    assert first["config"]["inventory"] == old
    assert verger.scan(output).count_rows() == COUNT - 2

    by_listing = run()
    assert not by_listing["rejected_by_reason"]
    counts = {name: by_listing["photographs"][name] for name in ("listed", "known", "computed")}
    assert counts == {"listed": COUNT - 1, "known": COUNT - 2, "computed": 1}  # what had changed since the report

    now = put(place, reports, listed(place), "CSV", timedelta())
    by_report = run("--inventory", now)
    assert (by_report["photographs"]["known"], by_report["photographs"]["computed"]) == (COUNT - 1, 0)
    assert by_report["same_as"] == by_listing["run_id"]  # its base is the run by listing
    assert not by_report["warnings"]

    settings = {"backbone": "pixels", "input_size": 8, "store_location": "eu"}
    planned = plan(RunConfig(input=place.input, output=output, inventory=now, **settings))
    assert (planned.listed, planned.known, planned.new) == (COUNT - 1, COUNT - 1, 0)
    assert planned.warnings == []

    few = put(place, reports, listed(place, "in/label 3/"), "Parquet", -timedelta(hours=1))
    last = Manifest.model_validate(run("--inventory", few))
    assert last.photographs.listed == COUNT // 4
    with open(tmp_path / "log", "w") as log, Progress(log) as progress:
        pruning = PruneSettings(output=output, store_location="eu")
        assert maintenance.prune(pruning, None, True, progress)["photographs"] == 0  # it lists, and all are there
