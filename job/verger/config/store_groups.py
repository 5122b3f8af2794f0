"""The settings of where photographs and results are, how stores are reached, and where they may be, in groups."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import field_validator, model_validator
from pydantic_settings import NoDecode

from verger.config.fields import BASIS, Group, NodeRegion, setting, split


class InputSettings(Group):
    """Which photographs are read."""

    input: str = setting("Where", "Folder of photographs: a local path, file: or s3:// URI.", min_length=1)
    inventory: str | None = setting(
        "Where",
        "S3 Inventory report that is read instead of listing the input: its manifest.json, or the folder of reports.",
        None,
    )


class OutputSettings(Group):
    """Where features and runs are kept, and in which series."""

    output: str = setting("Where", "Folder of the feature store and the runs.", min_length=1)
    name: str = setting(
        "Where",
        "Name of this series of runs; names/NAME.json points at its latest finished run.",
        "verger",
        pattern=r"^[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?$",
    )


class StoreSettings(Group):
    """How buckets are reached."""

    endpoint_url: str | None = setting(
        "Store",
        "URL of an S3-compatible store; default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, else AWS itself.",
        None,
        pattern=r"^https?://[^/@?#\s]+/?$",
    )
    region: str | None = setting(
        "Store",
        "Region of the buckets; the store is asked in any case, and its answer counts. Default: AWS_REGION.",
        None,
        min_length=1,
    )
    path_style: bool | None = setting(
        "Store",
        "Put bucket names into the path of URLs, not into the host name; default: for every store but AWS.",
        None,
    )
    ca_bundle: str | None = setting(
        "Store",
        "PEM file of the certificate authority that signed the store's certificate; default: AWS_CA_BUNDLE.",
        None,
    )
    sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = setting(
        "Store",
        "Server-side encryption to ask for with every object that is written; default: none, so that the bucket's own "
        "default applies.",
        None,
    )
    sse_kms_key_id: str | None = setting(
        "Store",
        "ARN of the KMS key for sse aws:kms or aws:kms:dsse; default: the bucket's key, or AWS's own.",
        None,
        pattern=r"^[^\s,]+$",
    )
    requester_pays: bool = setting("Store", "Pay for requests to buckets whose owner does not (Requester Pays).", False)

    @model_validator(mode="after")
    def _check_encryption(self) -> Self:
        if self.sse_kms_key_id and self.sse not in ("aws:kms", "aws:kms:dsse"):
            raise ValueError("sse_kms_key_id needs sse aws:kms or aws:kms:dsse")
        return self


class EventLogSettings(Group):
    """Where Spark writes its event log."""

    event_log: str | None = setting(
        "Store", "Folder in which Spark writes the event log of the run; default: no event log.", None
    )


class ResidencySettings(Group):
    """Where data may be."""

    store_location: Literal["eu"] | None = setting(
        "Residency",
        "Your declaration that a store other than AWS is in the EU. Without it such a store is refused.",
        None,
    )
    allow_london: str | None = setting(
        "Residency",
        "Allow data in London (eu-west-2), outside the EU, on this legal basis, which the manifest records.",
        None,
        min_length=8,
        pattern=BASIS,
    )
    allow_zurich: str | None = setting(
        "Residency",
        "Allow data in Zurich (eu-central-2), outside the EU, on this legal basis, which the manifest records.",
        None,
        min_length=8,
        pattern=BASIS,
    )
    verify_nodes: bool = setting(
        "Residency",
        "Check with Kubernetes that the nodes of the driver and of all executors are in allowed regions.",
        False,
    )
    node_region: Annotated[tuple[NodeRegion, ...], NoDecode] = setting(
        "Residency",
        "Allow pods on nodes in this region of a cloud other than AWS: its name there, its country in the EU, and the "
        "legal basis, which the manifest records (repeatable).",
        (),
    )

    @field_validator("node_region", mode="before")
    @classmethod
    def _split_semicolons(cls, value: object) -> object:
        """A variable holds several regions in one string. A legal basis may have commas in it."""
        return split(value, ";")
