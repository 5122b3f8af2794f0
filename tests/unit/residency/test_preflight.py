"""residency/preflight: the places of a run that the guard asks about."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.s3_answers import Answer, Store, on_aws
from verger.config import RunConfig
from verger.errors import ResidencyError
from verger.pipeline.stages import open_job
from verger.planning.plan import plan
from verger.progress import Progress
from verger.residency.preflight import uris_by_role


def test_places_that_are_not_given_have_no_role() -> None:
    assert uris_by_role(input="/in", weights="bundled") == {"input": "/in"}
    assert uris_by_role(inventory="s3a://reports/daily/", weights="s3://weights/a.h5") == {
        "inventory": "s3://reports/daily",
        "weights": "s3://weights/a.h5",
    }


@pytest.mark.usefixtures("example_keys")
@pytest.mark.parametrize("command", [plan, lambda config: open_job(config, Progress(io.StringIO()))])
def test_the_bucket_of_an_inventory_report_must_be_in_the_eu_and_is_not_read_otherwise(
    aws: Store, tmp_path: Path, command: Callable[[RunConfig], object]
) -> None:
    aws.heads = {"photos": Answer(region="eu-west-3"), "reports": Answer(region="us-east-1")}
    output, report = str(tmp_path / "out"), "s3://reports/photos/daily"
    config = on_aws(aws, input="s3://photos/in", inventory=report, output=output, backbone="pixels")
    with pytest.raises(ResidencyError, match=r"reports.*us-east-1"):
        command(config)
    assert any("HEAD reports" in asked for asked in aws.seen)
    assert not [asked for asked in aws.seen if asked.startswith("GET") and asked.split()[2] != "replication"]
