"""The guard: checks that every bucket of a run is in the EU, before the first byte is read or written."""

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

# Access points and their aliases, directory buckets, table buckets: other names of one or several buckets. Neither the
# name nor HeadBucket is sure to tell where these are.
_INDIRECT = re.compile(r"arn:.*|.*(-s3alias|--ol-s3|--op-s3|\.mrap|--x-s3|--table-s3)")


@dataclass(frozen=True)
class Residency:
    """What the guard found. There is one only where nothing was refused.

    Attributes
    ----------
    evidence : list of str
        A sentence for each check and its result.
    regions : dict of str to str or None
        Bucket to region; None where a store that is not AWS's reports none.
    opt_ins : list of dict
        ``{region, basis}`` of the regions outside the EU that were used and allowed, and ``{region, country, basis}``
        of regions of another cloud in which nodes were.
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
        """The region of a bucket.

        Parameters
        ----------
        uri : str
            Canonical.

        Returns
        -------
        str or None
            None for a local path, and where the store reports no region.
        """
        name = bucket_name(uri)
        return None if name is None else self.regions.get(name)

    def with_executors(self, executors: nodes.Executors, settings: AccessSettings) -> Residency:
        """A copy with the regions of the executors' nodes.

        Parameters
        ----------
        executors : nodes.Executors
            The regions of the nodes that were checked, and a sentence on each region.
        settings : AccessSettings
            The legal bases, and the declared regions of other clouds, from which opt-ins are made.

        Returns
        -------
        Residency
            ``evidence`` and ``opt_ins`` have more entries; the rest is the same.
        """
        found = self.opt_ins + regions.opt_ins((), settings, node_regions=executors.regions.values())
        by_region = {opt_in["region"]: opt_in for opt_in in found}
        return replace(
            self,
            evidence=self.evidence + executors.evidence,
            opt_ins=[by_region[region] for region in sorted(by_region)],
        )

    def as_dict(self) -> dict[str, Any]:
        """The record in the manifest.

        Returns
        -------
        dict
            With the keys ``verdict``, ``evidence`` and ``opt_ins``.
        """
        return {"verdict": self.verdict, "evidence": self.evidence, "opt_ins": self.opt_ins}


def guard(
    stores: Stores, uris: Mapping[str, str], settings: AccessSettings, written: Collection[str] = ()
) -> Residency:
    """Refuse a run whose data would leave the EU, and connect its buckets, each with its own region.

    It must run before the SparkSession starts, which writes its event log from the start. Only HeadBucket is sent to
    a bucket before its region is known to be allowed. Nothing is sent to a store that is neither AWS's nor declared to
    be in the EU.

    Parameters
    ----------
    stores : Stores
        The buckets are connected in it.
    uris : mapping of str to str
        Role (``input``, ``output``, ``event log``, ``weights``, ``run``, ``photographs``) to canonical URI.
    settings : AccessSettings
        How buckets are reached, which regions are allowed, and whether nodes are checked.
    written : collection of str
        The roles that are written to.

    Returns
    -------
    Residency
        The evidence for the manifest, the buckets' regions, and the opt-ins that were used.

    Raises
    ------
    ResidencyError
        A bucket, a replica of what is written or the driver's node is outside the EU, or its region is unknown.
    NothingToReadError, StoreError
        A bucket is missing, or the store refuses these credentials or cannot be reached.
    UsageError
        AWS's variables and files are wrong.
    """
    roles = _roles_by_bucket(uris)
    buckets = [_require_allowed_endpoint(stores, name, settings) for name in roles]
    evidence, replica_regions = [], []
    node_regions = list(regions.declared_node_regions(settings))
    if settings.verify_nodes:
        node_regions = [nodes.check_driver(settings)]
        evidence.append(f"the driver's node is in {node_regions[0]} ({nodes.LABEL})")
    elif node_regions:  # no check tells whether pods ran there, but they may have
        evidence.append(f"pods may run in {', '.join(node_regions)} (node_region); where they ran was not verified")
    if not buckets:
        evidence.insert(0, "input and output are paths of this machine")
    found: dict[str, str | None] = {}
    for bucket in buckets:
        region = found[bucket.name] = _region(stores, bucket, only_written=roles[bucket.name] <= set(written))
        evidence.append(_require_allowed_region(bucket, region, settings))
    buckets = [replace(bucket, region=found[bucket.name] or bucket.region) for bucket in buckets]
    for bucket in buckets:
        sentences, copies = _check_replication(stores, bucket, bool(roles[bucket.name] & set(written)), settings)
        evidence += sentences
        replica_regions += copies
    for bucket in buckets:
        stores.connect(bucket)
    used = [*replica_regions, *filter(None, found.values())]
    return Residency(evidence, found, regions.opt_ins(used, settings, node_regions))


def _roles_by_bucket(uris: Mapping[str, str]) -> dict[str, set[str]]:
    """Each bucket once, with its roles."""
    roles: dict[str, set[str]] = {}
    for role, uri in uris.items():
        name = bucket_name(uri)
        if name is None:
            continue
        if _INDIRECT.fullmatch(name):
            raise ResidencyError(
                f"{uri} ({role}) is not a plain bucket, and the region behind such a name is unknown",
                "Give the bucket itself",
            )
        roles.setdefault(name, set()).add(role)
    return roles


def _require_allowed_endpoint(stores: Stores, name: str, settings: AccessSettings) -> Bucket:
    """A bucket with an endpoint that may be sent requests: a declared store's, or AWS's in an allowed region."""
    from verger.storage import credentials

    bucket = credentials.resolve(name, settings)
    if not bucket.is_aws:
        if settings.store_location != "eu":
            raise ResidencyError(
                f"s3://{name} is in the store at {bucket.host}, whose location is not declared",
                "Give --store-location eu if the store is in the EU",
            )
        return bucket
    if bucket.region is None or not regions.allowed(bucket.region, settings):
        bucket = replace(bucket, region=credentials.DEFAULT_REGION)
    client = stores.client(bucket, patient=False)
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    if "s3-accelerate" in host or (client.meta.config.s3 or {}).get("use_accelerate_endpoint"):  # type: ignore[attr-defined]
        raise ResidencyError(
            f"s3://{name} would be reached by S3 Transfer Acceleration, whose edge locations are all over the world",
            "Use the plain endpoint: leave --endpoint-url and use_accelerate_endpoint out",
        )
    in_host = regions.regions_in_host(host)
    if not in_host or not all(regions.allowed(region, settings) for region in in_host):
        raise ResidencyError(
            f"s3://{name} would be reached by {host}, which is not an endpoint in the EU",
            "Leave --endpoint-url and AWS_ENDPOINT_URL out: Verger finds the bucket's own region",
        )
    return bucket


def _region(stores: Stores, bucket: Bucket, only_written: bool) -> str | None:
    """The region that the store reports for a bucket; None where a store that is not AWS's reports none."""
    from verger.storage.refusals import explain, translate_errors

    where = f"s3://{bucket.name}"
    with translate_errors(where):
        region, error = _head_bucket(stores, bucket)
        if error is not None and error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            missing = StoreError if only_written else NothingToReadError  # MinIO reports its region all the same
            raise missing(f"there is no bucket {where} at {bucket.host}", "Check its name and the endpoint")
        if region is not None or error is None:
            return region
        answer: Any
        try:  # an answer to HEAD has no body: the listing's error has the reason, or the region to sign for
            answer = stores.client(bucket, patient=False).list_objects_v2(Bucket=bucket.name, MaxKeys=1)
        except type(error) as list_error:
            if list_error.response["Error"].get("Code") != "AccessDenied":
                raise
            answer = list_error.response
            if bucket.is_aws and _region_header(answer) is None:
                denied = explain(list_error, where)
                assert denied is not None
                raise ResidencyError(f"AWS does not report the region of {denied.what}", denied.advice) from list_error
        return _region_header(answer)


def _head_bucket(stores: Stores, bucket: Bucket) -> tuple[str | None, ClientError | None]:
    """The region that HeadBucket's answer has, even one that denies access; and the error, if it is one.

    If the bucket is in another region than the client, boto3 repeats the request there. This is the second answer.
    """
    from botocore.exceptions import ClientError

    refused: ClientError | None = None
    try:
        answer: Any = stores.client(bucket, patient=False).head_bucket(Bucket=bucket.name)
    except ClientError as error:
        refused, answer = error, error.response
    return _region_header(answer), refused


def _region_header(answer: Any) -> str | None:
    """The region in an answer, or in the answer of an error."""
    region: str | None = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("x-amz-bucket-region")
    return region


def _require_allowed_region(bucket: Bucket, region: str | None, settings: AccessSettings) -> str:
    """The sentence for the manifest; ResidencyError where the bucket's region is not allowed."""
    where = f"s3://{bucket.name}"
    if bucket.is_aws:
        if region is None:
            raise ResidencyError(
                f"AWS does not report the region of {where}", "Grant s3:ListBucket on it, or check its name"
            )
        if not regions.allowed(region, settings):
            raise regions.refusal(f"{where} is", region)
        return f"{where} is in {region} (HeadBucket's x-amz-bucket-region, AWS)"
    where = f"{where} at {bucket.host}"
    if region is not None and regions.is_forbidden_aws_region(region, settings):
        raise ResidencyError(
            f"{where} reports the region {region}, which is the name of an AWS region outside the EU",
            "If the store is in the EU, set the store's own region (MinIO: MINIO_REGION=eu-west-3)",
        )
    return f"{where} reports {region or 'no region'}; declared to be in the EU (store_location: eu)"


def _check_replication(
    stores: Stores, bucket: Bucket, writes: bool, settings: AccessSettings
) -> tuple[list[str], list[str]]:
    """Sentences on the buckets to which a bucket is replicated, and their regions.

    A replica outside the EU is refused where the run writes to the bucket, as it would send data there. Where it only
    reads, the replica exists already: it is reported.
    """
    where = f"s3://{bucket.name}"
    targets, why_none = _replication_targets(stores, bucket)
    sentences, target_regions = [why_none] if why_none else [], []
    for arn in targets:
        name, region = arn.rpartition(":")[2], _target_region(stores, bucket, arn)
        if region is None:
            sentences.append(f"warning: {where} replicates to {name}, whose region is unknown")
            continue
        outside = (
            not regions.allowed(region, settings)
            if bucket.is_aws
            else regions.is_forbidden_aws_region(region, settings)
        )
        if outside and writes:
            raise regions.refusal(f"what is written to {where} is replicated to {name}, which is", region)
        sentences.append(
            f"{where} replicates to {name} in {region}{', outside the EU; the run only reads it' if outside else ''}"
        )
        target_regions.append(region)
    return sentences, target_regions


def _replication_targets(stores: Stores, bucket: Bucket) -> tuple[list[str], str]:
    """ARNs of the buckets to which enabled rules replicate; or a sentence on why there are none."""
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
            return [], f"whether {where} is replicated is unknown ({code})"
    rules = answer.get("ReplicationConfiguration", {}).get("Rules", [])
    targets = {rule["Destination"]["Bucket"] for rule in rules if rule["Status"] == "Enabled"}
    return sorted(targets), "" if targets else f"{where} is not replicated"


def _target_region(stores: Stores, bucket: Bucket, arn: str) -> str | None:
    """The region of a replica. AWS is asked; the ARN of another store may hold it, as MinIO replicates to others."""
    from botocore.exceptions import BotoCoreError

    if not bucket.is_aws:
        return arn.split(":")[3] or None if arn.count(":") >= 5 else None
    try:
        return _head_bucket(stores, replace(bucket, name=arn.rpartition(":")[2]))[0]
    except BotoCoreError:
        return None
