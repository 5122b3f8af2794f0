"""The guard: where every bucket of a run stands, asked before the first byte is read or written; EU only."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from verger.config import AccessSettings
from verger.errors import NothingToReadError, ResidencyError, StoreError
from verger.residency import nodes, regions
from verger.storage.uri import bucket_name

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

    from verger.storage.buckets import Bucket
    from verger.storage.stores import Stores

# Access points and their aliases, directory buckets, table buckets: names that lead to a bucket, or to several, in a
# place that the name does not tell and HeadBucket need not.
_INDIRECT = re.compile(r"arn:.*|.*(-s3alias|--ol-s3|--op-s3|\.mrap|--x-s3|--table-s3)")


@dataclass(frozen=True)
class Residency:
    """What the guard found; it exists only where nothing was refused.

    Attributes
    ----------
    evidence : list of str
        A sentence for each thing that was asked and what it answered.
    regions : dict
        Bucket to region, None where a store that is not AWS's reports none.
    opt_ins : list of dict
        ``{region, basis}`` of the regions outside the EU that were used and allowed, and ``{region, country, basis}``
        of another cloud's in which nodes stood.
    """

    evidence: list[str]
    regions: dict[str, str | None]
    opt_ins: list[dict[str, str]]

    @property
    def verdict(self) -> str:
        """``local``, ``eu`` or ``eu by opt-in``."""
        if self.opt_ins:
            return "eu by opt-in"
        return "eu" if self.regions else "local"

    def region(self, uri: str) -> str | None:
        """The region of a canonical URI's bucket; None for a local path."""
        name = bucket_name(uri)
        return None if name is None else self.regions.get(name)

    def with_executors(self, executors: nodes.Executors, settings: AccessSettings) -> Residency:
        """The same, with where the executors' nodes were found to stand."""
        found = self.opt_ins + regions.opt_ins((), settings, of_nodes=executors.regions.values())
        by_region = {opt_in["region"]: opt_in for opt_in in found}
        return replace(
            self,
            evidence=self.evidence + executors.evidence,
            opt_ins=[by_region[region] for region in sorted(by_region)],
        )

    def as_dict(self) -> dict[str, Any]:
        """As the manifest keeps it."""
        return {"verdict": self.verdict, "evidence": self.evidence, "opt_ins": self.opt_ins}


def guard(
    stores: Stores, places: Mapping[str, str], settings: AccessSettings, written: Collection[str] = ()
) -> Residency:
    """Refuse a run whose data would leave the EU, and connect its buckets, each with its own region.

    To be called before the SparkSession, whose event log is written from its start. Nothing but HeadBucket is sent
    to a bucket before its region is known to be allowed, and nothing at all to a store that is not AWS's and not
    declared.

    Parameters
    ----------
    stores : Stores
        In which the buckets are connected.
    places : mapping of str to str
        Role (``input``, ``output``, ``event log``, ``weights``, ``run``) to canonical URI.
    settings : AccessSettings
    written : collection of str
        The roles that are written to.

    Returns
    -------
    Residency

    Raises
    ------
    ResidencyError
        A bucket, a replica of what is written or the driver's node is outside the EU, or where it is cannot be told.
    NothingToReadError, StoreError
        A bucket is missing, or the store refuses these credentials or cannot be reached.
    """
    roles = _roles(places)
    asked = [_reached(stores, name, settings) for name in roles]
    evidence, used = [], []
    stood = list(regions.declared(settings))
    if settings.verify_nodes:
        stood = [nodes.driver(settings)]
        evidence.append(f"the driver's node is in {stood[0]} ({nodes.LABEL})")
    elif stood:  # nobody asks whether pods were there, but they may have been
        evidence.append(f"pods might run in {', '.join(stood)} (node_region); where they did was not verified")
    if not asked:
        evidence.insert(0, "input and output are paths of this machine")
    found: dict[str, str | None] = {}
    for bucket in asked:
        region = found[bucket.name] = _region(stores, bucket, only_written=roles[bucket.name] <= set(written))
        evidence.append(_admit(bucket, region, settings))
    located = [replace(bucket, region=found[bucket.name] or bucket.region) for bucket in asked]
    for bucket in located:
        sentences, copies = _replicas(stores, bucket, bool(roles[bucket.name] & set(written)), settings)
        evidence += sentences
        used += copies
    for bucket in located:
        stores.connect(bucket)
    return Residency(evidence, found, regions.opt_ins([*used, *filter(None, found.values())], settings, stood))


def _roles(places: Mapping[str, str]) -> dict[str, set[str]]:
    """Each bucket once, with what it is for."""
    roles: dict[str, set[str]] = {}
    for role, uri in places.items():
        name = bucket_name(uri)
        if name is None:
            continue
        if _INDIRECT.fullmatch(name):
            raise ResidencyError(
                f"{uri} ({role}) is no plain bucket, and where an access point leads cannot be told",
                "Name the bucket itself",
            )
        roles.setdefault(name, set()).add(role)
    return roles


def _reached(stores: Stores, name: str, settings: AccessSettings) -> Bucket:
    """How a bucket is to be asked: of a declared store, or by an endpoint of AWS's in a region that is allowed."""
    from verger.storage import credentials

    bucket = credentials.resolve(name, settings)
    if not bucket.is_aws:
        if settings.store_location != "eu":
            raise ResidencyError(
                f"nobody has said where the store at {bucket.host} stands, in which s3://{name} is",
                "Give --store-location eu if it stands in the EU",
            )
        return bucket
    if bucket.region is None or not regions.allowed(bucket.region, settings):
        bucket = replace(bucket, region=credentials.DEFAULT_REGION)
    client = stores.client(bucket, patient=False)
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    if "s3-accelerate" in host or (client.meta.config.s3 or {}).get("use_accelerate_endpoint"):  # type: ignore[attr-defined]
        raise ResidencyError(
            f"s3://{name} would be reached by S3 Transfer Acceleration, whose edges stand all over the world",
            "Use the plain endpoint: leave --endpoint-url and use_accelerate_endpoint out",
        )
    named = regions.named(host)
    if not named or not all(regions.allowed(region, settings) for region in named):
        raise ResidencyError(
            f"s3://{name} would be reached by {host}, which is no endpoint in the EU",
            "Leave --endpoint-url and AWS_ENDPOINT_URL out: the bucket's own region is found",
        )
    return bucket


def _region(stores: Stores, bucket: Bucket, only_written: bool) -> str | None:
    """The region that the store reports for a bucket; None where a store that is not AWS's reports none."""
    from verger.storage.refusals import translate_errors

    where = f"s3://{bucket.name}"
    with translate_errors(where):
        region, refused = _head(stores, bucket)
        if refused is not None and refused.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            missing = StoreError if only_written else NothingToReadError  # MinIO reports its region all the same
            raise missing(f"there is no bucket {where} at {bucket.host}", "Check its name and the endpoint")
        if region is not None or refused is None:
            return region
        answer: Any
        try:  # an answer to HEAD has no body: only a listing tells why, or for which region it should have been signed
            answer = stores.client(bucket, patient=False).list_objects_v2(Bucket=bucket.name, MaxKeys=1)
        except type(refused) as error:
            if error.response["Error"].get("Code") != "AccessDenied":
                raise
            answer = error.response
        return _header(answer)


def _head(stores: Stores, bucket: Bucket) -> tuple[str | None, ClientError | None]:
    """What HeadBucket reports as the region, a refusal included, and the refusal.

    Of a bucket in another region than the client's, boto3 asks again there, by HEAD, and this is the second answer.
    """
    from botocore.exceptions import ClientError

    refused = None
    try:
        answer: Any = stores.client(bucket, patient=False).head_bucket(Bucket=bucket.name)
    except ClientError as error:
        refused, answer = error, error.response
    return _header(answer), refused


def _header(answer: Any) -> str | None:
    """The region in an answer or a refusal of boto3's."""
    region: str | None = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("x-amz-bucket-region")
    return region


def _admit(bucket: Bucket, region: str | None, settings: AccessSettings) -> str:
    """The sentence for the manifest, where the bucket's region is allowed."""
    where = f"s3://{bucket.name}"
    if bucket.is_aws:
        if region is None:
            raise ResidencyError(
                f"AWS does not tell in which region {where} is", "Grant s3:ListBucket on it, or check its name"
            )
        if not regions.allowed(region, settings):
            raise regions.refusal(f"{where} is", region)
        return f"{where} is in {region} (HeadBucket's x-amz-bucket-region, AWS)"
    where = f"{where} at {bucket.host}"
    if region is not None and regions.abroad(region, settings):
        raise ResidencyError(
            f"{where} reports the region {region}, which is AWS's name of one outside the EU",
            "If the store stands in the EU, set the store's own region (MinIO: MINIO_REGION=eu-west-3)",
        )
    return f"{where} reports {region or 'no region'}; declared as standing in the EU (store_location: eu)"


def _replicas(stores: Stores, bucket: Bucket, writes: bool, settings: AccessSettings) -> tuple[list[str], list[str]]:
    """Sentences on where a bucket's objects are copied to, and the regions of these copies.

    A copy outside the EU of what this run writes is refused: the run would be the one that sends it there. What it
    only reads was there before, and is reported.
    """
    where = f"s3://{bucket.name}"
    targets, why_none = _targets(stores, bucket)
    sentences, known = [why_none] if why_none else [], []
    for arn in targets:
        name, region = arn.rpartition(":")[2], _target_region(stores, bucket, arn)
        if region is None:
            sentences.append(f"warning: {where} replicates to {name}, and where that is cannot be told")
            continue
        outside = not regions.allowed(region, settings) if bucket.is_aws else regions.abroad(region, settings)
        if outside and writes:
            raise regions.refusal(f"what is written to {where} is replicated to {name}, which is", region)
        sentences.append(
            f"{where} replicates to {name} in {region}{', outside the EU; the run only reads it' if outside else ''}"
        )
        known.append(region)
    return sentences, known


def _targets(stores: Stores, bucket: Bucket) -> tuple[list[str], str]:
    """ARNs to which enabled rules replicate, or a sentence on why there are none."""
    from botocore.exceptions import ClientError

    from verger.storage.refusals import translate_errors

    where = f"s3://{bucket.name}"
    with translate_errors(where):
        try:
            answer = stores.client(bucket, patient=False).get_bucket_replication(Bucket=bucket.name)
        except ClientError as error:
            code = error.response["Error"].get("Code", "")
            if code == "ReplicationConfigurationNotFoundError":
                return [], f"{where} is not replicated"
            return [], f"whether {where} is replicated was not to be learned ({code})"
    rules = answer.get("ReplicationConfiguration", {}).get("Rules", [])
    targets = {rule["Destination"]["Bucket"] for rule in rules if rule["Status"] == "Enabled"}
    return sorted(targets), "" if targets else f"{where} is not replicated"


def _target_region(stores: Stores, bucket: Bucket, arn: str) -> str | None:
    """AWS is asked where the other bucket is; another store's ARN may say it (MinIO's target is another store)."""
    from botocore.exceptions import BotoCoreError

    if not bucket.is_aws:
        return arn.split(":")[3] or None if arn.count(":") >= 5 else None
    try:
        return _head(stores, replace(bucket, name=arn.rpartition(":")[2]))[0]
    except BotoCoreError:
        return None
