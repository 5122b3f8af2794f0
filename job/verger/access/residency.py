"""The guard: where every bucket of a run stands, asked before the first byte is read or written; EU only."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from verger.access import nodes, regions
from verger.config import RunConfig
from verger.errors import NothingToReadError, ResidencyError, StoreError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

    from verger.access.credentials import Bucket

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
        ``{region, basis}`` of the regions outside the EU that were used and allowed.
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
        return self.regions.get(uri.removeprefix("s3://").partition("/")[0]) if uri.startswith("s3://") else None

    def with_executors(self, executors: nodes.Executors, config: RunConfig) -> Residency:
        """The same, with where the executors' nodes were found to stand."""
        known = [opt_in["region"] for opt_in in self.opt_ins]
        return replace(
            self,
            evidence=self.evidence + executors.evidence,
            opt_ins=regions.opt_ins([*known, *executors.regions.values()], config),
        )

    def as_dict(self) -> dict[str, Any]:
        """As the manifest keeps it."""
        return {"verdict": self.verdict, "evidence": self.evidence, "opt_ins": self.opt_ins}


def guard(places: Mapping[str, str], config: RunConfig, written: Collection[str] = ()) -> Residency:
    """Refuse a run whose data would leave the EU, and connect its buckets, each with its own region.

    To be called before the SparkSession, whose event log is written from its start. Nothing but HeadBucket is sent
    to a bucket before its region is known to be allowed, and nothing at all to a store that is not AWS's and not
    declared.

    Parameters
    ----------
    places : mapping of str to str
        Role (``input``, ``output``, ``event log``, ``weights``, ``run``) to canonical URI.
    config : RunConfig
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
    buckets = [_reached(name, config) for name in roles]
    evidence, used = [], []
    if config.verify_nodes:
        driver = nodes.driver(config)
        evidence.append(f"the driver's node is in {driver} ({nodes.LABEL})")
        used.append(driver)
    if not buckets:
        return Residency(["input and output are paths of this machine", *evidence], {}, regions.opt_ins(used, config))
    located = []
    for bucket in buckets:
        region = _region(bucket, missing=StoreError if roles[bucket.name] <= set(written) else NothingToReadError)
        evidence.append(_admit(bucket, region, config))
        located.append(replace(bucket, region=region or bucket.region))
        used.append(region or "")
    for bucket in located:
        sentences, copies = _replicas(bucket, config, bool(roles[bucket.name] & set(written)))
        evidence += sentences
        used += copies
    return _connect(located, Residency(evidence, {}, regions.opt_ins(used, config)))
