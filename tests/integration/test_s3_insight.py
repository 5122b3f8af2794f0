"""Report, export and identify of a run in a bucket: read from there, written there, and refused undeclared."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.runs import finished, verger
from tests.integration.s3 import Minio
from tests.integration.s3_runs import COUNT, Place, reach
from tests.integration.test_identify import ABSENT

pytestmark = [pytest.mark.required_in_ci, pytest.mark.slow]


@pytest.fixture(scope="module")
def analysed(minio: Minio, tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, dict[str, Any]]:
    """A bucket with a run that has classifier and report, and the run's last line."""
    with pytest.MonkeyPatch.context() as patch:
        reach(minio, patch)
        place = Place.make(minio, tmp_path_factory.mktemp("analysed"))
        code, stderr, lines = finished(place.start("--classifier", "--report"))
    assert code == 0, stderr
    return place, lines[-1]


@pytest.fixture
def place(analysed: tuple[Place, dict[str, Any]], minio: Minio, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The same, reached by AWS's own variables."""
    reach(minio, monkeypatch)
    return analysed[0]


def test_a_report_has_its_pictures_and_is_drawn_again_without_the_photographs(
    place: Place, analysed: tuple[Place, dict[str, Any]]
) -> None:
    (key,) = place.keys("out/runs/", "/report/index.html")
    assert analysed[1]["report"] == f"s3://{place.bucket}/{key}"
    page = place.get(key).decode()
    assert page.count("data:image/jpeg;base64,") >= COUNT
    assert place.input in page
    photographs = {photograph: place.get(photograph) for photograph in place.keys("in/")}
    for photograph in photographs:
        place.server.client().delete_object(Bucket=place.bucket, Key=photograph)
    try:
        again = verger("report", "--run", place.output, "--store-location", "eu", cwd=place.folder)
        code, stderr, lines = finished(again)
    finally:
        for photograph, content in photographs.items():
            place.put(photograph, content)
    assert code == 0, stderr
    assert lines[-1] == {"event": "done", "report": f"s3://{place.bucket}/{key}"}
    page = place.get(key).decode()
    assert "data:image/jpeg;base64," not in page
    assert "no photograph could be read" in page


def test_an_export(place: Place) -> None:
    code, stderr, lines = finished(verger("export", "--run", place.output, "--store-location", "eu", cwd=place.folder))
    assert code == 0, stderr
    (key,) = place.keys("out/runs/", "/model/verger.tflite")
    assert lines[-1]["model"] == f"s3://{place.bucket}/{key}"
    record = json.loads(place.get(key.replace("verger.tflite", "export.json")))
    assert record["parity"]["photographs"] == COUNT
    assert record["parity"]["largest_difference"] < 1e-3


def test_identifying_photographs_of_a_bucket(place: Place) -> None:
    place.put("asked/cut.png", place.get(place.keys("in/")[0])[:60])
    asked = [f"s3://{place.bucket}/{key}" for key in place.keys("in/")[:1]] + [f"s3://{place.bucket}/asked"]
    arguments = ["identify", "--run", place.output, "--json", *asked, f"s3://{place.bucket}/gone.png"]
    refused, said, _ = finished(verger(*arguments, cwd=place.folder))
    assert refused == 5 and "store-location" in said
    process = verger(*arguments, "--store-location", "eu", inject=ABSENT, cwd=place.folder)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    told = [json.loads(line) for line in stdout.splitlines()]
    assert [one["error"] and one["error"]["reason"] for one in told] == [None, "truncated", "missing"]
    assert told[0]["nearest"][0]["path"] == asked[0] and len(place.keys("in/")) == COUNT
