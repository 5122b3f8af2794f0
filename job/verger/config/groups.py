"""The settings of a run in groups: a function takes the narrowest group that it needs.

`verger.config.RunConfig` is all of them at once, so that every name is flat.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, field_validator, model_validator
from pydantic_settings import NoDecode

from verger.config.fields import BASIS, Glob, NodeRegion, setting


class _Group(BaseModel):
    """Frozen, and closed: an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)  # a command uses few of them


def _split(value: object, separator: str) -> object:
    return tuple(filter(None, map(str.strip, value.split(separator)))) if isinstance(value, str) else value


class InputSettings(_Group):
    """Which photographs are read."""

    input: str = setting("Where", "Folder of photographs: a local path, file: or s3:// URI.", min_length=1)


class OutputSettings(_Group):
    """Where features and runs are kept, and in which series."""

    output: str = setting("Where", "Folder of the feature store and the runs.", min_length=1)
    name: str = setting(
        "Where",
        "Name of this series of runs; names/NAME.json points at its last good one.",
        "verger",
        pattern=r"^[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?$",
    )


class StoreSettings(_Group):
    """How buckets are reached."""

    endpoint_url: str | None = setting(
        "Store",
        "URL of an S3-compatible store; default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, else AWS itself.",
        None,
        pattern=r"^https?://[^/@?#\s]+/?$",
    )
    region: str | None = setting(
        "Store", "Region of the buckets, asked of the store all the same; default: AWS_REGION.", None, min_length=1
    )
    path_style: bool | None = setting(
        "Store", "Bucket names in the path, not the host name; default: for every store but AWS.", None
    )
    ca_bundle: str | None = setting(
        "Store", "PEM file of the authority that signed the store's certificate; default: AWS_CA_BUNDLE.", None
    )


class EventLogSettings(_Group):
    """Whether Spark keeps its event log."""

    event_log: str | None = setting("Store", "Folder in which Spark keeps the run's event log; default: none.", None)


class ResidencySettings(_Group):
    """Where data may be."""

    store_location: Literal["eu"] | None = setting(
        "Residency", "Where a store that is not AWS stands; 'eu' is your word for it, and required.", None
    )
    allow_london: str | None = setting(
        "Residency",
        "Legal basis on which data may be in London (eu-west-2), which is not in the EU.",
        None,
        min_length=8,
        pattern=BASIS,
    )
    allow_zurich: str | None = setting(
        "Residency",
        "Legal basis on which data may be in Zurich (eu-central-2), which is not in the EU.",
        None,
        min_length=8,
        pattern=BASIS,
    )
    verify_nodes: bool = setting(
        "Residency", "Ask Kubernetes in which region the driver's and every executor's node stands.", False
    )
    node_region: Annotated[tuple[NodeRegion, ...], NoDecode] = setting(
        "Residency",
        "Region of another cloud on whose nodes pods may stand, the country of the EU in which it is, and the legal "
        "basis; into the manifest (repeatable).",
        (),
    )

    @field_validator("node_region", mode="before")
    @classmethod
    def _split_semicolons(cls, value: object) -> object:
        """The environment says several regions in one string; a legal basis may have commas in it."""
        return _split(value, ";")


class SelectionSettings(_Group):
    """Which of the photographs are used."""

    label: Annotated[tuple[Glob, ...], NoDecode] = setting(
        "Which photographs", "Keep only labels that match this glob (repeatable).", ()
    )
    exclude: Annotated[tuple[Glob, ...], NoDecode] = setting(
        "Which photographs",
        "Leave out photographs whose label, or path below the input, matches this glob (repeatable).",
        (),
    )
    max_labels: int | None = setting(
        "Which photographs", "Keep at most this many labels, the first by name.", None, ge=1
    )
    max_photographs: int | None = setting(
        "Which photographs",
        "Keep at most this many photographs: a stable sample, balanced over labels.",
        None,
        ge=1,
    )

    @field_validator("label", "exclude", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        """The environment says several globs in one string."""
        return _split(value, ",")


class NetworkSettings(_Group):
    """Which network computes the features, and what it is shown."""

    backbone: Literal["mobilenet_v2", "vgg16", "pixels"] = setting(
        "Network", "Network whose features are taken, or 'pixels' for the resized photograph itself.", "mobilenet_v2"
    )
    pooling: Literal["avg", "none"] = setting(
        "Network", "Global average pooling, or 'none' for the flattened last layer.", "avg"
    )
    alpha: float | None = setting(
        "Network", "Width multiplier of mobilenet_v2; default: what the weights say.", None, gt=0, le=2
    )
    input_size: int | None = setting(
        "Network",
        "Edge of the square input, pixels, at least 32 (pixels: 8); default: what the weights say (pixels: 20).",
        None,
        ge=8,
        le=1024,
    )
    weights: str = setting(
        "Network", "'bundled', 'imagenet', 'random', or a path or URI of a .h5, .keras or .npz file.", "bundled"
    )
    weights_dir: str | None = setting(
        "Network", "Folder in which 'imagenet' weights are looked up before Keras' cache and the network.", None
    )
    weights_sha256: str | None = setting(
        "Network", "SHA-256 that the weights file must have.", None, pattern=r"^[0-9a-f]{64}$"
    )
    precision: Literal["float32", "bfloat16"] = setting(
        "Network", "Arithmetic of the convolutions; bfloat16 is faster where the CPU has it.", "float32"
    )
    resample: Literal["bicubic", "bilinear"] = setting("Network", "Pillow's filter for resizing.", "bicubic")
    fit: Literal["stretch", "crop", "pad"] = setting(
        "Network", "How a photograph becomes square: stretched, cropped in the middle, or padded with white.", "stretch"
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.backbone == "pixels" and self.weights not in ("bundled", "random"):
            raise ValueError("backbone pixels has no weights: leave weights out")
        if self.alpha is not None and self.backbone != "mobilenet_v2":
            raise ValueError(f"alpha belongs to mobilenet_v2, not to {self.backbone}")
        if self.backbone == "vgg16" and self.weights == "bundled":
            raise ValueError("no vgg16 weights are bundled: give weights imagenet, random or a file")
        return self


class ComponentSettings(_Group):
    """How the principal components are fitted."""

    variance: float = setting(
        "Components",
        "Least number of components whose cumulative explained variance reaches this share.",
        0.8,
        gt=0,
        le=1,
    )
    components: int | None = setting(
        "Components", "Exactly this many components, instead of a share of the variance.", None, ge=1
    )
    pca: Literal["fit", "reuse"] = setting("Components", "Fit the PCA, or reuse that of the latest run.", "fit")
    standardize: bool | None = setting(
        "Components", "Divide each feature by its standard deviation (default: only for pixels).", None
    )
    solver: Literal["auto", "exact", "randomized"] = setting(
        "Components", "PCA by eigenvectors of the exact Gram matrix, or by randomized subspace iteration.", "auto"
    )
    seed: int = setting(
        "Components",
        "Seed of random weights, the randomized solver, and the samples and folds of insight.",
        0,
        ge=0,
        lt=2**31,
    )

    @property
    def variance_wanted(self) -> float | None:
        """The share of variance to reach, or None where a number of components was asked for."""
        return None if self.components is not None else self.variance


class InsightSettings(_Group):
    """What is found out about the photographs after the projection."""

    classifier: bool = setting(
        "Insight", "Fit a first classifier on the components, and say how well it does on unseen photographs.", True
    )
    class_regex: str | None = setting(
        "Insight",
        "Part of the label that is the class, e.g. '^\\w+': the fruit of 'Apple Braeburn 1'; default: all of it.",
        None,
        min_length=1,
    )
    group_regex: str | None = setting(
        "Insight",
        "Part of the path below the input that belongs together, such as a rotation series, a tree or a day: no group "
        "is both learnt from and scored on.",
        None,
        min_length=1,
    )
    report: bool = setting("Insight", "Draw the run's report, a page beside its table.", True)

    @field_validator("class_regex", "group_regex")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        return value


class ExtractionSettings(_Group):
    """How photographs are divided into waves, tasks and batches."""

    batch_size: int = setting("Execution", "Photographs a network call.", 16, ge=1, le=1024)
    partitions: int | None = setting("Execution", "Spark tasks a wave; default: by cores and photographs.", None, ge=1)
    wave_size: int | None = setting(
        "Execution",
        "Photographs computed and committed together; default: by cores, at least a minute of work.",
        None,
        ge=1,
    )
    max_rejected_ratio: float = setting(
        "Execution", "The run fails when a larger share of the photographs is rejected.", 0.1, ge=0, le=1
    )


class SparkSettings(_Group):
    """How Spark runs."""

    cores: int | None = setting("Execution", "Cores of the embedded Spark; default: all.", None, ge=1)
    driver_memory: str = setting(
        "Execution",
        "Memory of the driver, e.g. 512m or 2g; PCA holds at most half of it.",
        "2g",
        pattern=r"^[1-9][0-9]*[mg]$",
    )
    local_dir: str | None = setting("Execution", "Folder for Spark's temporary files; default: the system's.", None)

    @property
    def driver_bytes(self) -> int:
        """``driver_memory`` in bytes."""
        return int(self.driver_memory[:-1]) << {"m": 20, "g": 30}[self.driver_memory[-1]]


class LogLevelSettings(_Group):
    """Whose messages are shown."""

    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "Execution", "From 'info' on, Spark's and TensorFlow's own messages are shown too.", "warning"
    )


class TableSettings(_Group):
    """What is written beside the table, and done to the store afterwards."""

    compact: Literal["auto", "never"] = setting(
        "Output", "'auto': merge the feature store's small files after the run, where they have become many.", "auto"
    )
    csv: bool = setting("Output", "Write projection.csv too, a column a component.", False)


class LogSettings(LogLevelSettings):
    """What is said on stderr."""

    log_format: Literal["auto", "json"] = setting(
        "Output",
        "'json': every line on stderr is a JSON object; 'auto': a bar on a terminal, elsewhere JSON lines and a few "
        "for people.",
        "auto",
    )
    progress_interval: float = setting(
        "Output", "Seconds between two progress lines where stderr is no terminal.", 10.0, gt=0
    )


class CostSettings(_Group):
    """At which prices a run is counted."""

    eur_per_vcpu_hour: float | None = setting(
        "Output",
        "What you pay for a core and hour, EUR; default: the region's published price of an m5.xlarge.",
        None,
        ge=0,
    )
    usd_per_eur: float | None = setting(
        "Output", "Dollars for a euro; default: 1.105, the ECB's reference rate of 29 December 2023.", None, gt=0
    )
    spot_discount: float = setting(
        "Output",
        "By which share spot nodes are assumed to be cheaper than the published price, e.g. 0.6.",
        0.0,
        ge=0,
        lt=1,
    )
