"""residency/guard: where buckets are copied to, by their replication."""

from __future__ import annotations

import pytest

from tests.unit.s3_answers import (
    NOT_REPLICATED,
    Answer,
    Store,
    check,
    elsewhere,
    on_aws,
    refused,
    replicated,
)

pytestmark = [pytest.mark.required_in_ci, pytest.mark.usefixtures("example_keys")]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (NOT_REPLICATED, "s3://lake is not replicated"),
        (replicated("arn:aws:s3:::copy", status="Disabled"), "s3://lake is not replicated"),
        (Answer(403, code="AccessDenied"), "whether s3://lake is replicated is unknown (AccessDenied)"),
        (Answer(501, code="NotImplemented"), "whether s3://lake is replicated is unknown (NotImplemented)"),
    ],
)
def test_what_is_found_on_replication_is_evidence(aws: Store, answer: Answer, words: str) -> None:
    aws.heads, aws.replication = {"lake": Answer(region="eu-west-3")}, {"lake": answer}
    assert words in check(on_aws(aws), {"output": "s3://lake"}).evidence[1]


def test_a_replica_in_the_eu_is_evidence_and_one_outside_refuses_a_run_that_writes(aws: Store) -> None:
    aws.heads = {"lake": Answer(region="eu-west-3"), "copy": Answer(403, region="eu-north-1")}
    aws.replication = {"lake": replicated("arn:aws:s3:::copy")}
    assert check(on_aws(aws), {"output": "s3://lake"}).evidence[1] == "s3://lake replicates to copy in eu-north-1"
    aws.heads["copy"] = Answer(403, region="us-west-2")
    line = refused(on_aws(aws), {"output": "s3://lake"})
    assert "what is written to s3://lake is replicated to copy, which is in us-west-2" in line


def test_a_replica_outside_of_a_bucket_that_is_only_read_is_reported(aws: Store) -> None:
    aws.heads = {"photos": Answer(region="eu-west-3"), "copy": Answer(region="us-west-2")}
    aws.replication = {"photos": replicated("arn:aws:s3:::copy")}
    found = check(on_aws(aws), {"input": "s3://photos"})
    assert found.evidence[1] == "s3://photos replicates to copy in us-west-2, outside the EU; the run only reads it"


def test_a_replica_in_london_by_opt_in_is_recorded(aws: Store) -> None:
    aws.heads = {"lake": Answer(region="eu-west-3"), "copy": Answer(region="eu-west-2")}
    aws.replication = {"lake": replicated("arn:aws:s3:::copy")}
    found = check(on_aws(aws, allow_london="adequacy decision of 2021"), {"output": "s3://lake"})
    assert [opt_in["region"] for opt_in in found.opt_ins] == ["eu-west-2"]


def test_a_replica_in_an_unknown_region_is_a_warning(aws: Store) -> None:
    aws.heads = {"lake": Answer(region="eu-west-3"), "copy": Answer(403)}
    aws.replication = {"lake": replicated("arn:aws:s3:::copy")}
    evidence = check(on_aws(aws), {"output": "s3://lake"}).evidence[1]
    assert evidence == "warning: s3://lake replicates to copy, whose region is unknown"


@pytest.mark.parametrize(
    ("arn", "words"),
    [
        ("arn:minio:replication::c5be6b16:copy", "warning: s3://lake replicates to copy"),
        ("arn:minio:replication:eu-west-3:c5be6b16:copy", "s3://lake replicates to copy in eu-west-3"),
    ],
)
def test_a_replica_in_another_store_is_not_looked_up_in_this_one(store: Store, arn: str, words: str) -> None:
    """A bucket of the same name in this store is not the replica."""
    store.heads = {"lake": Answer(region="eu-west-3"), "copy": Answer(region="eu-north-1")}
    store.replication = {"lake": replicated(arn)}
    assert check(elsewhere(store), {"output": "s3://lake"}).evidence[1].startswith(words)
    assert not [seen for seen in store.seen if "HEAD copy" in seen]
    store.replication = {"lake": replicated("arn:minio:replication:us-east-1:c5be6b16:copy")}
    assert "us-east-1" in refused(elsewhere(store), {"output": "s3://lake"})
