"""residency/regions: which regions are allowed, for buckets and for nodes, and what is kept of opt-ins."""

from __future__ import annotations

import pytest

from tests.unit.s3_answers import (
    Answer,
    Store,
    on_aws,
    refused,
)
from verger.config import RunConfig
from verger.errors import ResidencyError
from verger.residency import nodes, regions
from verger.residency.guard import Residency, guard
from verger.storage.stores import Stores

pytestmark = pytest.mark.usefixtures("example_keys")


def test_the_regions_of_the_eu_are_the_decided_ones() -> None:
    assert {
        *("eu-central-1", "eu-west-1", "eu-west-3", "eu-north-1", "eu-south-1", "eu-south-2", "eusc-de-east-1")
    } == regions.EU


def test_the_regions_of_executors_are_in_evidence_and_opt_ins() -> None:
    class Found(nodes.Executors):
        def __init__(self) -> None:
            self.regions = {"a": "eu-west-2", "b": "eu-west-3", "c": "eu-west-3"}

    config = RunConfig(input="i", output="o", allow_london="adequacy decision of 2021")
    zurich = {"region": "eu-central-2", "basis": "known before"}
    found = Residency(["before"], {"lake": "eu-west-3"}, [zurich]).with_executors(Found(), config)
    assert found.opt_ins == [zurich, {"region": "eu-west-2", "basis": "adequacy decision of 2021"}]
    assert found.evidence == [
        "before",
        "1 executor ran on nodes in eu-west-2 (topology.kubernetes.io/region)",
        "2 executors ran on nodes in eu-west-3 (topology.kubernetes.io/region)",
    ]
    assert found.verdict == "eu by opt-in"


SCALEWAY = "fr-par:FR:DPA with Scaleway: of 2026-03-01"


def test_a_declared_node_region_is_an_opt_in_where_a_node_ran_or_none_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    declared = {"region": "fr-par", "country": "FR", "basis": "DPA with Scaleway: of 2026-03-01"}
    config = RunConfig(input="i", output="o", node_region=(SCALEWAY, "eu-west-3:FR:not needed there"))
    found = guard(Stores(), {"input": "/a", "output": "/b"}, config)
    assert found.opt_ins == [declared]
    assert "pods may run in fr-par (node_region); where they ran was not verified" in found.evidence
    verified = config.model_copy(update={"verify_nodes": True})
    for region, opt_ins in (("eu-west-3", []), ("fr-par", [declared])):
        monkeypatch.setattr(nodes, "check_driver", lambda _, region=region: region)
        assert guard(Stores(), {"input": "/a", "output": "/b"}, verified).opt_ins == opt_ins


@pytest.mark.parametrize("region", ["us-east-1", "EU-WEST-2", "cn-north-1"])
def test_a_region_of_aws_outside_the_eu_cannot_be_declared(region: str) -> None:
    config = RunConfig(input="i", output="o", node_region=(f"{region}:FR:by mistake",))
    with pytest.raises(ResidencyError, match=f"{region} is the name of an AWS region outside the EU"):
        guard(Stores(), {"input": "/a", "output": "/b"}, config)


def test_a_declared_node_region_does_not_allow_buckets(aws: Store, store: Store) -> None:
    aws.heads = {"photos": Answer(region="fr-par")}
    declared = {"node_region": (SCALEWAY,)}
    assert "s3://photos is in fr-par" in refused(on_aws(aws, **declared), {"input": "s3://photos"})


def test_verifying_nodes_outside_a_cluster_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    config = RunConfig(input="i", output="o", verify_nodes=True)
    with pytest.raises(ResidencyError, match="--verify-nodes is for runs in a Kubernetes cluster"):
        guard(Stores(), {"input": "/a", "output": "/b"}, config)
