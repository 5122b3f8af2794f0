"""access/residency: what S3 answers, over a real connection, and what the guard makes of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import ROOT
from verger.access import buckets, nodes, regions
from verger.access.residency import Residency, guard
from verger.access.storage import canonical
from verger.config import RunConfig
from verger.errors import NothingToReadError, ResidencyError, StoreError, VergerError

XML = '<?xml version="1.0" encoding="UTF-8"?>'
REGION = "x-amz-bucket-region"
RULE = "<Rule><Status>{}</Status><Priority>1</Priority><Destination><Bucket>{}</Bucket></Destination></Rule>"


@dataclass
class Answer:
    status: int = 200
    region: str | None = None
    code: str = ""  # of the error in a body, where there is one
    body: str = ""

    def bytes(self) -> bytes:
        error = f"{XML}<Error><Code>{self.code}</Code><Message>no</Message></Error>" if self.code else ""
        return (self.body or error).encode()


NOT_REPLICATED = Answer(404, code="ReplicationConfigurationNotFoundError")
EMPTY = Answer(body=f"{XML}<ListBucketResult><Name>b</Name></ListBucketResult>")


def replicated(*targets: str, status: str = "Enabled") -> Answer:
    rules = "".join(RULE.format(status, target) for target in targets)
    return Answer(body=f"{XML}<ReplicationConfiguration><Role>r</Role>{rules}</ReplicationConfiguration>")


@dataclass
class Store:
    """An S3 that answers as told: to HEAD by bucket and signing region, to a listing, and about replication."""

    heads: dict[str, Answer | Callable[[str], Answer]] = field(default_factory=dict)
    listing: Answer = field(default_factory=lambda: EMPTY)
    replication: dict[str, Answer] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    port: int = 0

    def answer(self, method: str, bucket: str, query: str, signed_for: str) -> Answer:
        kind = "replication" if query == "replication" else "list" if "list-type" in query else "bucket"
        self.seen.append(f"{method} {bucket} {kind} {signed_for}")
        if kind == "replication":
            return self.replication.get(bucket, NOT_REPLICATED)
        if kind == "list":
            return self.listing
        head = self.heads.get(bucket, Answer(404))
        return head(signed_for) if callable(head) else head


def _handler(store: Store) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            host, url = self.headers["Host"].rpartition(":")[0], urlsplit(self.path)
            bucket = url.path.strip("/") or host.partition(".")[0]  # path style, or in the host's name
            scope = self.headers.get("Authorization", "////").split("/")
            answer = store.answer(self.command, bucket, url.query, scope[2])
            body = b"" if self.command == "HEAD" else answer.bytes()
            self.send_response(answer.status)
            if answer.region is not None:
                self.send_header(REGION, answer.region)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_HEAD

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-to-be-shown")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(buckets, "_connected", {})


@pytest.fixture(scope="module")
def listening() -> Iterator[Store]:
    """One for all tests, at one address: clients are made once a bucket and address."""
    answering = Store()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(answering)) as server:
        answering.port = server.server_port
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield answering
        server.shutdown()


@pytest.fixture
def store(listening: Store) -> Store:
    listening.__init__(port=listening.port)  # type: ignore[misc]
    return listening


@pytest.fixture
def aws(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The same by AWS's names, which lead to it."""
    real = socket.getaddrinfo

    def local(host: str, *more: Any, **named: Any) -> Any:
        return real("127.0.0.1" if host.endswith("amazonaws.com") else host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", local)
    return store


def on_aws(store: Store, **settings: Any) -> RunConfig:
    url = f"http://s3.eu-west-3.amazonaws.com:{store.port}"
    return RunConfig(**{"input": "i", "output": "o", "endpoint_url": url} | settings)


def elsewhere(store: Store, **settings: Any) -> RunConfig:
    url = f"http://127.0.0.1:{store.port}"
    return RunConfig(**{"input": "i", "output": "o", "endpoint_url": url, "store_location": "eu"} | settings)


PLACES = {"input": "s3://photos/2024", "output": "s3://lake/verger"}


def check(config: RunConfig, places: dict[str, str] | None = None) -> Residency:
    return guard(places or PLACES, config, written={"output"})


def refused(config: RunConfig, places: dict[str, str] | None = None, by: type[VergerError] = ResidencyError) -> str:
    with pytest.raises(VergerError) as caught:
        check(config, places)
    assert type(caught.value) is by, caught.value.line
    assert not buckets.connected(), "a bucket of a refused run was connected"
    assert "not-to-be-shown" not in caught.value.line
    return caught.value.line


# --- local


def test_paths_of_this_machine_need_no_boto3() -> None:
    script = (
        "import sys; from verger.access.residency import guard; from verger.config import RunConfig\n"
        "found = guard({'input': '/a', 'output': '/b'}, RunConfig(input='a', output='b'))\n"
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


def test_buckets_in_two_regions_of_the_eu_pass_and_are_connected_with_their_own(aws: Store) -> None:
    aws.heads = {"photos": Answer(region="eu-north-1"), "lake": Answer(region="eu-west-3")}
    found = check(on_aws(aws, region="us-east-1"))
    assert (found.verdict, found.opt_ins) == ("eu", [])
    assert found.evidence[:2] == [
        "s3://photos is in eu-north-1 (HeadBucket's x-amz-bucket-region, AWS)",
        "s3://lake is in eu-west-3 (HeadBucket's x-amz-bucket-region, AWS)",
    ]
    assert [found.region(uri) for uri in (*PLACES.values(), "/local", "s3://other/a")] == [
        *("eu-north-1", "eu-west-3", None, None)
    ]
    assert {bucket.name: bucket.region for bucket in buckets.connected()} == found.regions
    # A region outside that is configured is not asked: the first question goes to one in the EU.
    assert aws.seen[0] == "HEAD photos bucket eu-central-1"


def test_one_bucket_is_asked_once(aws: Store) -> None:
    aws.heads = {"lake": Answer(region="eu-west-3")}
    check(on_aws(aws, region="eu-west-3"), {"input": "s3://lake/in", "output": "s3://lake/out", "weights": "/w"})
    assert aws.seen == ["HEAD lake bucket eu-west-3", "GET lake replication eu-west-3"]


@pytest.mark.parametrize(
    "region", ["us-east-1", "eu-west-2", "eu-central-2", "ap-south-1", "eu-central-3", "eu-west-33"]
)
def test_a_bucket_elsewhere_is_refused_by_its_head_alone(aws: Store, region: str) -> None:
    """Also where the head is denied, as that of the second is."""
    aws.heads = {"photos": Answer(403, region="eu-west-3"), "lake": Answer(403, region=region)}
    assert f"s3://lake is in {region}" in refused(on_aws(aws))
    assert {seen.split()[0] for seen in aws.seen} == {"HEAD"}


@pytest.mark.parametrize("status", [301, 400])
def test_the_answer_of_the_bucket_s_own_region_counts(aws: Store, status: int) -> None:
    """boto3 asks again in the region to which it is sent."""

    def in_stockholm(signed_for: str) -> Answer:
        return Answer(200 if signed_for == "eu-north-1" else status, region="eu-north-1")

    moved = f"moved-{status}"  # a bucket of its own, for a client remembers where it was sent
    aws.heads = {moved: in_stockholm}
    assert check(on_aws(aws), {"input": f"s3://{moved}"}).region(f"s3://{moved}") == "eu-north-1"
    heads = [seen for seen in aws.seen if seen.startswith("HEAD")]
    assert heads == [f"HEAD {moved} bucket eu-central-1", f"HEAD {moved} bucket eu-north-1"]


def test_a_bucket_to_which_a_redirect_leads_abroad_is_sent_nothing_but_head(aws: Store) -> None:
    def in_virginia(signed_for: str) -> Answer:
        return Answer(200 if signed_for == "us-east-1" else 301, region="us-east-1")

    aws.heads = {"moved-abroad": in_virginia}
    assert "s3://moved-abroad is in us-east-1" in refused(on_aws(aws), {"input": "s3://moved-abroad"})
    assert [seen.split()[0] for seen in aws.seen] == ["HEAD", "HEAD"]


@pytest.mark.parametrize(
    ("region", "option", "city"), [("eu-west-2", "allow_london", "London"), ("eu-central-2", "allow_zurich", "Zurich")]
)
def test_london_and_zurich_pass_by_their_legal_basis_alone(aws: Store, region: str, option: str, city: str) -> None:
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
def test_a_region_that_aws_does_not_tell_is_refused(aws: Store, listing: Answer) -> None:
    aws.heads, aws.listing = {"photos": Answer(403)}, listing
    assert "does not tell in which region s3://photos is" in refused(on_aws(aws))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("InvalidAccessKeyId", "does not know this access key"),
        ("SignatureDoesNotMatch", "secret key"),
        ("ExpiredToken", "expired"),
        ("RequestTimeTooSkewed", "clock"),
    ],
)
def test_a_refusal_without_a_region_is_explained_by_a_listing(aws: Store, code: str, words: str) -> None:
    aws.heads, aws.listing = {"photos": Answer(403)}, Answer(403, code=code)
    for config in (on_aws(aws), elsewhere(aws)):
        assert words in refused(config, by=StoreError)


def test_a_missing_bucket_is_nothing_to_read_or_nowhere_to_write(aws: Store) -> None:
    assert "no bucket s3://photos" in refused(on_aws(aws), by=NothingToReadError)
    aws.heads = {"photos": Answer(region="eu-west-3")}
    assert "no bucket s3://lake" in refused(on_aws(aws), by=StoreError)
    aws.heads["lake"] = Answer(404, region="eu-west-3")  # MinIO tells its region even so
    assert "no bucket s3://lake" in refused(elsewhere(aws), by=StoreError)


# --- What is no plain bucket


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
def test_access_points_and_directory_buckets_are_refused_unasked(aws: Store, uri: str) -> None:
    assert "no plain bucket" in refused(on_aws(aws), {"input": canonical(uri)})
    assert aws.seen == []


@pytest.mark.parametrize(
    "host",
    [
        *("s3.us-east-1.amazonaws.com", "s3.amazonaws.com", "s3-us-west-2.amazonaws.com", "s3.eu-west-2.amazonaws.com"),
        *("s3-accelerate.amazonaws.com", "s3-accelerate.dualstack.amazonaws.com"),
        "bucket.vpce-0a1b-eu-west-3.s3.us-east-1.vpce.amazonaws.com",
    ],
)
def test_endpoints_of_aws_outside_the_eu_are_refused_unasked(aws: Store, host: str) -> None:
    line = refused(on_aws(aws, endpoint_url=f"http://{host}:{aws.port}"))
    assert ("Acceleration" if "accelerate" in host else host) in line
    assert aws.seen == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_so_are_those_of_aws_s_own_variables(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"{scheme}://s3.us-east-1.amazonaws.com")
    bucket = f"by-{scheme}"  # a bucket of its own, for a client is made once
    line = refused(RunConfig(input="i", output="o"), {"input": f"s3://{bucket}"})
    assert "s3.us-east-1.amazonaws.com, which is no endpoint in the EU" in line


def test_acceleration_in_aws_s_own_settings_is_refused() -> None:
    Path(os.environ["AWS_CONFIG_FILE"]).write_text("[default]\ns3 =\n  use_accelerate_endpoint = true\n")
    config = RunConfig(input="i", output="o", region="eu-west-3")
    assert "Acceleration" in refused(config, {"input": "s3://accelerated"})


def test_a_declaration_does_not_make_another_store_of_aws(aws: Store) -> None:
    aws.heads = {"photos": Answer(region="us-east-1")}
    assert "s3://photos is in us-east-1" in refused(on_aws(aws, store_location="eu"))


# --- Stores that are not AWS's


def test_an_undeclared_store_is_asked_nothing(store: Store) -> None:
    store.heads = {"photos": Answer(region="eu-west-3"), "lake": Answer(region="eu-west-3")}
    line = refused(elsewhere(store, store_location=None))
    assert f"127.0.0.1:{store.port}" in line
    assert "--store-location eu" in line
    assert store.seen == []


@pytest.mark.parametrize("region", ["eu-west-3", "gra", "fr-par", "default", "eu-central-3", "de-fra-1", None])
def test_what_a_declared_store_reports_is_evidence(store: Store, region: str | None) -> None:
    store.heads = {"lake": Answer(region=region)}
    found = check(elsewhere(store, region="eu-north-1"), {"output": "s3://lake/verger"})
    said = f"reports {region or 'no region'}; declared as standing in the EU (store_location: eu)"
    assert found.evidence[0] == f"s3://lake at 127.0.0.1:{store.port} {said}"
    assert found.verdict == "eu"
    assert found.region("s3://lake") == region
    assert [bucket.region for bucket in buckets.connected()] == [region or "eu-north-1"]


@pytest.mark.parametrize(
    "region", ["us-east-1", "US-EAST-1", "eu-west-2", "cn-north-1", "us-gov-west-1", "ap-southeast-2"]
)
def test_a_region_of_aws_outside_the_eu_refuses_a_declared_store(store: Store, region: str) -> None:
    store.heads = {"photos": Answer(region=region)}
    line = refused(elsewhere(store))
    assert region in line
    assert "MINIO_REGION" in line


def test_a_store_that_denies_head_and_tells_no_region_passes_by_its_declaration(store: Store) -> None:
    store.heads, store.listing = {"lake": Answer(403)}, Answer(403, code="AccessDenied")
    assert "reports no region" in check(elsewhere(store), {"output": "s3://lake"}).evidence[0]


def test_a_store_that_tells_its_region_to_a_listing_alone_is_believed(store: Store) -> None:
    """versitygw's head is so where it was signed for another region."""
    store.heads, store.listing = {"lake": Answer(400)}, replace(EMPTY, region="us-east-1")
    assert "reports the region us-east-1" in refused(elsewhere(store), {"output": "s3://lake"})


def test_a_host_that_only_looks_like_aws_needs_a_declaration(store: Store) -> None:
    config = RunConfig(input="i", output="o", endpoint_url="https://s3.eu-west-3.amazonaws.com.example")
    assert "--store-location eu" in refused(config)


def test_a_store_that_is_not_there_is_a_store_s_failure(store: Store) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert "cannot be reached" in refused(elsewhere(store, endpoint_url=url), by=StoreError)


# --- Replication


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (NOT_REPLICATED, "s3://lake is not replicated"),
        (replicated("arn:aws:s3:::copy", status="Disabled"), "s3://lake is not replicated"),
        (Answer(403, code="AccessDenied"), "was not to be learned (AccessDenied)"),
        (Answer(501, code="NotImplemented"), "was not to be learned (NotImplemented)"),
    ],
)
def test_what_is_said_of_replication_is_evidence(aws: Store, answer: Answer, words: str) -> None:
    aws.heads, aws.replication = {"lake": Answer(region="eu-west-3")}, {"lake": answer}
    assert words in check(on_aws(aws), {"output": "s3://lake"}).evidence[1]


def test_a_copy_in_the_eu_is_evidence_and_one_outside_refuses_what_is_written(aws: Store) -> None:
    aws.heads = {"lake": Answer(region="eu-west-3"), "copy": Answer(403, region="eu-north-1")}
    aws.replication = {"lake": replicated("arn:aws:s3:::copy")}
    assert check(on_aws(aws), {"output": "s3://lake"}).evidence[1] == "s3://lake replicates to copy in eu-north-1"
    buckets._connected.clear()
    aws.heads["copy"] = Answer(403, region="us-west-2")
    line = refused(on_aws(aws), {"output": "s3://lake"})
    assert "what is written to s3://lake is replicated to copy, which is in us-west-2" in line


def test_a_copy_outside_of_what_is_only_read_is_reported(aws: Store) -> None:
    aws.heads = {"photos": Answer(region="eu-west-3"), "copy": Answer(region="us-west-2")}
    aws.replication = {"photos": replicated("arn:aws:s3:::copy")}
    found = check(on_aws(aws), {"input": "s3://photos"})
    assert found.evidence[1] == "s3://photos replicates to copy in us-west-2, outside the EU; the run only reads it"


def test_a_copy_in_london_by_opt_in_is_recorded(aws: Store) -> None:
    aws.heads = {"lake": Answer(region="eu-west-3"), "copy": Answer(region="eu-west-2")}
    aws.replication = {"lake": replicated("arn:aws:s3:::copy")}
    found = check(on_aws(aws, allow_london="adequacy decision of 2021"), {"output": "s3://lake"})
    assert [opt_in["region"] for opt_in in found.opt_ins] == ["eu-west-2"]


def test_a_copy_of_which_nobody_knows_where_it_is_is_a_warning(aws: Store) -> None:
    aws.heads = {"lake": Answer(region="eu-west-3"), "copy": Answer(403)}
    aws.replication = {"lake": replicated("arn:aws:s3:::copy")}
    evidence = check(on_aws(aws), {"output": "s3://lake"}).evidence[1]
    assert evidence == "warning: s3://lake replicates to copy, and where that is cannot be told"


@pytest.mark.parametrize(
    ("arn", "words"),
    [
        ("arn:minio:replication::c5be6b16:copy", "warning: s3://lake replicates to copy"),
        ("arn:minio:replication:eu-west-3:c5be6b16:copy", "s3://lake replicates to copy in eu-west-3"),
    ],
)
def test_another_store_s_copy_is_not_looked_for_in_this_store(store: Store, arn: str, words: str) -> None:
    """A bucket of the same name here is not the copy, which is in a store elsewhere."""
    store.heads = {"lake": Answer(region="eu-west-3"), "copy": Answer(region="eu-north-1")}
    store.replication = {"lake": replicated(arn)}
    assert check(elsewhere(store), {"output": "s3://lake"}).evidence[1].startswith(words)
    assert not [seen for seen in store.seen if "HEAD copy" in seen]
    buckets._connected.clear()
    store.replication = {"lake": replicated("arn:minio:replication:us-east-1:c5be6b16:copy")}
    assert "us-east-1" in refused(elsewhere(store), {"output": "s3://lake"})


# --- Regions and nodes


def test_the_list_is_the_one_that_was_decided() -> None:
    assert {
        *("eu-central-1", "eu-west-1", "eu-west-3", "eu-north-1", "eu-south-1", "eu-south-2", "eusc-de-east-1")
    } == regions.EU


def test_where_executors_stood_is_evidence_and_so_is_their_opt_in() -> None:
    class Seen(nodes.Executors):
        def __init__(self) -> None:
            self.regions = {"a": "eu-west-2", "b": "eu-west-3", "c": "eu-west-3"}

    config = RunConfig(input="i", output="o", allow_london="adequacy decision of 2021")
    zurich = {"region": "eu-central-2", "basis": "known before"}
    found = Residency(["before"], {"lake": "eu-west-3"}, [zurich]).with_executors(Seen(), config)
    assert found.opt_ins == [zurich, {"region": "eu-west-2", "basis": "adequacy decision of 2021"}]
    assert found.evidence == [
        "before",
        "1 executor stood on nodes in eu-west-2 (topology.kubernetes.io/region)",
        "2 executors stood on nodes in eu-west-3 (topology.kubernetes.io/region)",
    ]
    assert found.verdict == "eu by opt-in"


SCALEWAY = "fr-par:FR:DPA with Scaleway: of 2026-03-01"


def test_a_declared_node_region_is_an_opt_in_where_a_node_stood_there_or_nobody_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    declared = {"region": "fr-par", "country": "FR", "basis": "DPA with Scaleway: of 2026-03-01"}
    config = RunConfig(input="i", output="o", node_region=(SCALEWAY, "eu-west-3:FR:not needed there"))
    found = guard({"input": "/a", "output": "/b"}, config)
    assert found.opt_ins == [declared]
    assert "pods might run in fr-par (node_region); where they did was not verified" in found.evidence
    verified = config.model_copy(update={"verify_nodes": True})
    for region, opt_ins in (("eu-west-3", []), ("fr-par", [declared])):
        monkeypatch.setattr(nodes, "driver", lambda _, region=region: region)
        assert guard({"input": "/a", "output": "/b"}, verified).opt_ins == opt_ins


@pytest.mark.parametrize("region", ["us-east-1", "EU-WEST-2", "cn-north-1"])
def test_a_region_of_aws_outside_the_eu_cannot_be_declared(region: str) -> None:
    config = RunConfig(input="i", output="o", node_region=(f"{region}:FR:by mistake",))
    with pytest.raises(ResidencyError, match=f"{region} is AWS's name of a region outside the EU"):
        guard({"input": "/a", "output": "/b"}, config)


def test_a_declared_node_region_says_nothing_of_buckets(aws: Store, store: Store) -> None:
    aws.heads = {"photos": Answer(region="fr-par")}
    declared = {"node_region": (SCALEWAY,)}
    assert "s3://photos is in fr-par" in refused(on_aws(aws, **declared), {"input": "s3://photos"})


def test_verifying_nodes_where_there_is_no_cluster_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    config = RunConfig(input="i", output="o", verify_nodes=True)
    with pytest.raises(ResidencyError, match="--verify-nodes is for runs in a Kubernetes cluster"):
        guard({"input": "/a", "output": "/b"}, config)
