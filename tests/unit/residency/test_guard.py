"""residency/guard: the answers of a fake S3, over a real connection, and the decisions of the guard."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.unit.s3_answers import (
    EMPTY,
    PLACES,
    Answer,
    Store,
    check,
    elsewhere,
    on_aws,
    refused,
)
from verger.config import RunConfig
from verger.errors import NothingToReadError, StoreError
from verger.storage.stores import Stores
from verger.storage.uri import canonical

pytestmark = [pytest.mark.required_in_ci, pytest.mark.usefixtures("example_keys")]


# --- local


def test_paths_of_this_machine_need_no_boto3() -> None:
    script = (
        "import sys; from verger.residency.guard import guard; from verger.storage.stores import Stores\n"
        "from verger.config import RunConfig\n"
        "found = guard(Stores(), {'input': '/a', 'output': '/b'}, RunConfig(input='a', output='b'))\n"
        "print(found.as_dict(), found.region('/a'), 'boto3' in sys.modules, 'kubernetes' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(ROOT / "job")}, capture_output=True, text=True
    )
    evidence = ["input and output are paths of this machine"]
    assert ran.stdout.strip() == f"{ {'verdict': 'local', 'evidence': evidence, 'opt_ins': []} } None False False", (
        ran.stderr
    )


# --- AWS


def test_buckets_in_two_regions_of_the_eu_are_connected_with_their_own_region(aws: Store) -> None:
    aws.heads = {"photos": Answer(region="eu-north-1"), "lake": Answer(region="eu-west-3")}
    stores = Stores()
    found = check(on_aws(aws, region="us-east-1"), stores=stores)
    assert (found.verdict, found.opt_ins) == ("eu", [])
    assert found.evidence[:2] == [
        "s3://photos is in eu-north-1 (HeadBucket's x-amz-bucket-region, AWS)",
        "s3://lake is in eu-west-3 (HeadBucket's x-amz-bucket-region, AWS)",
    ]
    assert [found.region(uri) for uri in (*PLACES.values(), "/local", "s3://other/a")] == [
        *("eu-north-1", "eu-west-3", None, None)
    ]
    assert {bucket.name: bucket.region for bucket in stores.buckets} == found.regions
    # A region outside that is configured is not asked: the first question goes to one in the EU.
    assert aws.seen[0] == "HEAD photos bucket eu-central-1"


def test_a_bucket_with_two_roles_is_checked_once(aws: Store) -> None:
    aws.heads = {"lake": Answer(region="eu-west-3")}
    check(on_aws(aws, region="eu-west-3"), {"input": "s3://lake/in", "output": "s3://lake/out", "weights": "/w"})
    assert aws.seen == ["HEAD lake bucket eu-west-3", "GET lake replication eu-west-3"]


@pytest.mark.parametrize(
    "region", ["us-east-1", "eu-west-2", "eu-central-2", "ap-south-1", "eu-central-3", "eu-west-33"]
)
def test_a_bucket_outside_the_eu_is_refused_after_one_head(aws: Store, region: str) -> None:
    """Also where the head is denied, as that of the second is."""
    aws.heads = {"photos": Answer(403, region="eu-west-3"), "lake": Answer(403, region=region)}
    assert f"s3://lake is in {region}" in refused(on_aws(aws))
    assert {seen.split()[0] for seen in aws.seen} == {"HEAD"}


@pytest.mark.parametrize("status", [301, 400])
def test_the_answer_from_the_buckets_own_region_counts(aws: Store, status: int) -> None:
    """boto3 asks again in the region to which it is sent."""

    def in_stockholm(signed_for: str) -> Answer:
        return Answer(200 if signed_for == "eu-north-1" else status, region="eu-north-1")

    moved = f"moved-{status}"  # a bucket of its own, for a client remembers where it was sent
    aws.heads = {moved: in_stockholm}
    assert check(on_aws(aws), {"input": f"s3://{moved}"}).region(f"s3://{moved}") == "eu-north-1"
    heads = [seen for seen in aws.seen if seen.startswith("HEAD")]
    assert heads == [f"HEAD {moved} bucket eu-central-1", f"HEAD {moved} bucket eu-north-1"]


def test_a_bucket_redirected_outside_the_eu_is_sent_only_head(aws: Store) -> None:
    def in_virginia(signed_for: str) -> Answer:
        return Answer(200 if signed_for == "us-east-1" else 301, region="us-east-1")

    aws.heads = {"moved-abroad": in_virginia}
    assert "s3://moved-abroad is in us-east-1" in refused(on_aws(aws), {"input": "s3://moved-abroad"})
    assert [seen.split()[0] for seen in aws.seen] == ["HEAD", "HEAD"]


@pytest.mark.parametrize(
    ("region", "option", "city"), [("eu-west-2", "allow_london", "London"), ("eu-central-2", "allow_zurich", "Zurich")]
)
def test_london_and_zurich_need_their_own_legal_basis(aws: Store, region: str, option: str, city: str) -> None:
    aws.heads = {"photos": Answer(region=region), "lake": Answer(region="eu-west-3")}
    assert f"({city})" in (line := refused(on_aws(aws)))
    assert f"--{option.replace('_', '-')}" in line
    other = {"allow_london", "allow_zurich"} - {option}
    assert city in refused(on_aws(aws, **{other.pop(): "adequacy decision of 2021"}))
    found = check(on_aws(aws, **{option: "adequacy decision of 2021"}))
    assert found.verdict == "eu by opt-in"
    assert found.opt_ins == [{"region": region, "basis": "adequacy decision of 2021"}]


def test_an_opt_in_that_was_not_needed_is_not_recorded(aws: Store) -> None:
    aws.heads = {"photos": Answer(region="eu-west-3"), "lake": Answer(region="eu-west-3")}
    assert check(on_aws(aws, allow_london="adequacy decision of 2021")).as_dict()["opt_ins"] == []


@pytest.mark.parametrize("listing", [EMPTY, Answer(403, code="AccessDenied")])
def test_a_bucket_whose_region_aws_does_not_report_is_refused(aws: Store, listing: Answer) -> None:
    aws.heads, aws.listing = {"photos": Answer(403)}, listing
    assert "does not report the region of s3://photos" in refused(on_aws(aws))


def test_what_aws_says_of_a_bucket_that_it_denies_is_repeated(aws: Store) -> None:
    """As for a VPC endpoint whose policy leaves the bucket out: granting s3:ListBucket changes nothing."""
    why = "because no VPC endpoint policy allows the s3:ListBucket action"
    said = f"User: u is not authorized to perform: s3:ListBucket on resource: arn:aws:s3:::photos {why}"
    body = f"<Error><Code>AccessDenied</Code><Message>{said}</Message></Error>"
    aws.heads, aws.listing = {"photos": Answer(403)}, Answer(403, body=body)
    assert refused(on_aws(aws)) == (
        f"AWS does not report the region of s3://photos: access denied (ListObjectsV2): {said}. Allow s3:ListBucket on "
        "arn:aws:s3:::photos in the VPC endpoint policy."
    )


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("InvalidAccessKeyId", "does not know this access key"),
        ("SignatureDoesNotMatch", "secret key"),
        ("ExpiredToken", "expired"),
        ("RequestTimeTooSkewed", "clock"),
    ],
)
def test_denied_access_without_a_region_is_explained_by_a_listing(aws: Store, code: str, words: str) -> None:
    aws.heads, aws.listing = {"photos": Answer(403)}, Answer(403, code=code)
    for config in (on_aws(aws), elsewhere(aws)):
        assert words in refused(config, by=StoreError)


def test_a_missing_bucket_is_an_error_of_the_input_or_of_the_store(aws: Store) -> None:
    assert "no bucket s3://photos" in refused(on_aws(aws), by=NothingToReadError)
    aws.heads = {"photos": Answer(region="eu-west-3")}
    assert "no bucket s3://lake" in refused(on_aws(aws), by=StoreError)
    aws.heads["lake"] = Answer(404, region="eu-west-3")  # MinIO tells its region even so
    assert "no bucket s3://lake" in refused(elsewhere(aws), by=StoreError)


# --- What is not a plain bucket


@pytest.mark.parametrize(
    "uri",
    [
        "arn:aws:s3:eu-west-3:123456789012:accesspoint/photos",
        "s3://arn:aws:s3:eu-west-3:123456789012:accesspoint/photos",
        "s3a://arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap/a",
        "s3://photos-abc123xyz-s3alias/a",
        "s3://photos-abc123xyz--ol-s3/a",
        "s3://mfzwi23gnjvgw.mrap/a",
        "s3://photos--euw3-az1--x-s3/a",
    ],
)
def test_access_points_and_directory_buckets_are_refused_without_a_request(aws: Store, uri: str) -> None:
    assert "not a plain bucket" in refused(on_aws(aws), {"input": canonical(uri)})
    assert aws.seen == []


@pytest.mark.parametrize(
    "host",
    [
        *("s3.us-east-1.amazonaws.com", "s3.amazonaws.com", "s3-us-west-2.amazonaws.com", "s3.eu-west-2.amazonaws.com"),
        *("s3-accelerate.amazonaws.com", "s3-accelerate.dualstack.amazonaws.com"),
        "bucket.vpce-0a1b-eu-west-3.s3.us-east-1.vpce.amazonaws.com",
    ],
)
def test_endpoints_of_aws_outside_the_eu_are_refused_without_a_request(aws: Store, host: str) -> None:
    line = refused(on_aws(aws, endpoint_url=f"http://{host}:{aws.port}"))
    assert ("Acceleration" if "accelerate" in host else host) in line
    assert aws.seen == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_endpoints_in_aws_variables_are_refused_too(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"{scheme}://s3.us-east-1.amazonaws.com")
    bucket = f"by-{scheme}"  # a bucket of its own, for a client is made once
    line = refused(RunConfig(input="i", output="o"), {"input": f"s3://{bucket}"})
    assert "s3.us-east-1.amazonaws.com, which is not an endpoint in the EU" in line


def test_acceleration_in_the_aws_profile_is_refused() -> None:
    Path(os.environ["AWS_CONFIG_FILE"]).write_text("[default]\ns3 =\n  use_accelerate_endpoint = true\n")
    config = RunConfig(input="i", output="o", region="eu-west-3")
    assert "Acceleration" in refused(config, {"input": "s3://accelerated"})


def test_a_declared_location_does_not_count_for_aws(aws: Store) -> None:
    aws.heads = {"photos": Answer(region="us-east-1")}
    assert "s3://photos is in us-east-1" in refused(on_aws(aws, store_location="eu"))


# --- Stores that are not AWS's


def test_an_undeclared_store_is_sent_nothing(store: Store) -> None:
    store.heads = {"photos": Answer(region="eu-west-3"), "lake": Answer(region="eu-west-3")}
    line = refused(elsewhere(store, store_location=None))
    assert f"127.0.0.1:{store.port}" in line
    assert "--store-location eu" in line
    assert store.seen == []


@pytest.mark.parametrize("region", ["eu-west-3", "gra", "fr-par", "default", "eu-central-3", "de-fra-1", None])
def test_the_region_that_a_declared_store_reports_is_evidence(store: Store, region: str | None) -> None:
    store.heads = {"lake": Answer(region=region)}
    stores = Stores()
    found = check(elsewhere(store, region="eu-north-1"), {"output": "s3://lake/verger"}, stores)
    words = f"reports {region or 'no region'}; declared to be in the EU (store_location: eu)"
    assert found.evidence[0] == f"s3://lake at 127.0.0.1:{store.port} {words}"
    assert found.verdict == "eu"
    assert found.region("s3://lake") == region
    assert [bucket.region for bucket in stores.buckets] == [region or "eu-north-1"]


@pytest.mark.parametrize(
    "region", ["us-east-1", "US-EAST-1", "eu-west-2", "cn-north-1", "us-gov-west-1", "ap-southeast-2"]
)
def test_a_declared_store_that_reports_an_aws_region_outside_the_eu_is_refused(store: Store, region: str) -> None:
    store.heads = {"photos": Answer(region=region)}
    line = refused(elsewhere(store))
    assert region in line
    assert "MINIO_REGION" in line


def test_a_declared_store_that_denies_head_and_reports_no_region_is_allowed(store: Store) -> None:
    store.heads, store.listing = {"lake": Answer(403)}, Answer(403, code="AccessDenied")
    assert "reports no region" in check(elsewhere(store), {"output": "s3://lake"}).evidence[0]


def test_the_region_in_the_answer_to_a_listing_counts(store: Store) -> None:
    """versitygw's head is so where it was signed for another region."""
    store.heads, store.listing = {"lake": Answer(400)}, replace(EMPTY, region="us-east-1")
    assert "reports the region us-east-1" in refused(elsewhere(store), {"output": "s3://lake"})


def test_a_host_with_a_name_like_aws_must_be_declared(store: Store) -> None:
    config = RunConfig(input="i", output="o", endpoint_url="https://s3.eu-west-3.amazonaws.com.example")
    assert "--store-location eu" in refused(config)


def test_a_store_that_cannot_be_reached_is_a_store_error(store: Store) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert "cannot be reached" in refused(elsewhere(store, endpoint_url=url), by=StoreError)
