"""RunConfig: every setting of a run, its default and its description, stated once.

The command line, the YAML file, the environment and the JSON Schema are all made from it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from verger.errors import UsageError

# The groups of `--help`, in the order in which they are shown.
GROUPS = (
    "Where",
    "Store",
    "Residency",
    "Which photographs",
    "Network",
    "Components",
    "Insight",
    "Execution",
    "Output",
)


# ISO 3166's codes of the members of the European Union.
_EU = "AT|BE|BG|CY|CZ|DE|DK|EE|ES|FI|FR|GR|HR|HU|IE|IT|LT|LU|LV|MT|NL|PL|PT|RO|SE|SI|SK"
_BASIS = r"\S.{6,}\S"  # words, at least 8 characters of them
_NODE_REGION = rf"^[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?:({_EU}):{_BASIS}$"


def _node_region(value: str) -> str:
    if not re.fullmatch(_NODE_REGION, value):
        raise ValueError(
            "must be REGION:COUNTRY:BASIS, a country of the EU by its two letters and at least 8 letters of legal "
            "basis, such as fr-par:FR:DPA with Scaleway of 2026-03-01"
        )
    return value


# What the items of a list are called in `--help`, and what they must look like.
_Glob = Annotated[str, Field(title="GLOB")]
_NodeRegion = Annotated[
    str, Field(title="REGION:COUNTRY:BASIS", json_schema_extra={"pattern": _NODE_REGION}), AfterValidator(_node_region)
]


def _setting(group: str, description: str, default: Any = ..., **constraints: Any) -> Any:
    """Describe one setting; ``group`` is its heading in ``--help``."""
    assert group in GROUPS
    return Field(default, description=description, json_schema_extra={"group": group}, **constraints)


class RunConfig(BaseModel):
    """The settings of one run.

    Raises
    ------
    pydantic.ValidationError
        A value is out of range, unknown, or contradicts another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", title="RunConfig")

    # Where
    input: str = _setting("Where", "Folder of photographs: a local path, file: or s3:// URI.", min_length=1)
    output: str = _setting("Where", "Folder of the feature store and the runs.", min_length=1)
    name: str = _setting(
        "Where",
        "Name of this series of runs; names/NAME.json points at its last good one.",
        "verger",
        pattern=r"^[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?$",
    )

    # Store
    endpoint_url: str | None = _setting(
        "Store",
        "URL of an S3-compatible store; default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, else AWS itself.",
        None,
        pattern=r"^https?://[^/@?#\s]+/?$",
    )
    region: str | None = _setting(
        "Store", "Region of the buckets, asked of the store all the same; default: AWS_REGION.", None, min_length=1
    )
    path_style: bool | None = _setting(
        "Store", "Bucket names in the path, not the host name; default: for every store but AWS.", None
    )
    ca_bundle: str | None = _setting(
        "Store", "PEM file of the authority that signed the store's certificate; default: AWS_CA_BUNDLE.", None
    )
    event_log: str | None = _setting("Store", "Folder in which Spark keeps the run's event log; default: none.", None)

    # Residency
    store_location: Literal["eu"] | None = _setting(
        "Residency", "Where a store that is not AWS stands; 'eu' is your word for it, and required.", None
    )
    allow_london: str | None = _setting(
        "Residency",
        "Legal basis on which data may be in London (eu-west-2), which is not in the EU.",
        None,
        min_length=8,
        pattern=_BASIS,
    )
    allow_zurich: str | None = _setting(
        "Residency",
        "Legal basis on which data may be in Zurich (eu-central-2), which is not in the EU.",
        None,
        min_length=8,
        pattern=_BASIS,
    )
    verify_nodes: bool = _setting(
        "Residency", "Ask Kubernetes in which region the driver's and every executor's node stands.", False
    )
    node_region: Annotated[tuple[_NodeRegion, ...], NoDecode] = _setting(
        "Residency",
        "Region of another cloud on whose nodes pods may stand, the country of the EU in which it is, and the legal "
        "basis; into the manifest (repeatable).",
        (),
    )

    # Which photographs
    label: Annotated[tuple[_Glob, ...], NoDecode] = _setting(
        "Which photographs", "Keep only labels that match this glob (repeatable).", ()
    )
    exclude: Annotated[tuple[_Glob, ...], NoDecode] = _setting(
        "Which photographs",
        "Leave out photographs whose label, or path below the input, matches this glob (repeatable).",
        (),
    )
    max_labels: int | None = _setting(
        "Which photographs", "Keep at most this many labels, the first by name.", None, ge=1
    )
    max_photographs: int | None = _setting(
        "Which photographs",
        "Keep at most this many photographs: a stable sample, balanced over labels.",
        None,
        ge=1,
    )

    # Network
    backbone: Literal["mobilenet_v2", "vgg16", "pixels"] = _setting(
        "Network", "Network whose features are taken, or 'pixels' for the resized photograph itself.", "mobilenet_v2"
    )
    pooling: Literal["avg", "none"] = _setting(
        "Network", "Global average pooling, or 'none' for the flattened last layer.", "avg"
    )
    alpha: float | None = _setting(
        "Network", "Width multiplier of mobilenet_v2; default: what the weights say.", None, gt=0, le=2
    )
    input_size: int | None = _setting(
        "Network",
        "Edge of the square input, pixels, at least 32 (pixels: 8); default: what the weights say (pixels: 20).",
        None,
        ge=8,
        le=1024,
    )
    weights: str = _setting(
        "Network", "'bundled', 'imagenet', 'random', or a path or URI of a .h5, .keras or .npz file.", "bundled"
    )
    weights_dir: str | None = _setting(
        "Network", "Folder in which 'imagenet' weights are looked up before Keras' cache and the network.", None
    )
    weights_sha256: str | None = _setting(
        "Network", "SHA-256 that the weights file must have.", None, pattern=r"^[0-9a-f]{64}$"
    )
    precision: Literal["float32", "bfloat16"] = _setting(
        "Network", "Arithmetic of the convolutions; bfloat16 is faster where the CPU has it.", "float32"
    )
    resample: Literal["bicubic", "bilinear"] = _setting("Network", "Pillow's filter for resizing.", "bicubic")
    fit: Literal["stretch", "crop", "pad"] = _setting(
        "Network", "How a photograph becomes square: stretched, cropped in the middle, or padded with white.", "stretch"
    )

    # Components
    variance: float = _setting(
        "Components",
        "Least number of components whose cumulative explained variance reaches this share.",
        0.8,
        gt=0,
        le=1,
    )
    components: int | None = _setting(
        "Components", "Exactly this many components, instead of a share of the variance.", None, ge=1
    )
    pca: Literal["fit", "reuse"] = _setting("Components", "Fit the PCA, or reuse that of the latest run.", "fit")
    standardize: bool | None = _setting(
        "Components", "Divide each feature by its standard deviation (default: only for pixels).", None
    )
    solver: Literal["auto", "exact", "randomized"] = _setting(
        "Components", "PCA by eigenvectors of the exact Gram matrix, or by randomized subspace iteration.", "auto"
    )
    seed: int = _setting(
        "Components",
        "Seed of random weights, the randomized solver, and the samples and folds of insight.",
        0,
        ge=0,
        lt=2**31,
    )

    # Insight
    classifier: bool = _setting(
        "Insight", "Fit a first classifier on the components, and say how well it does on unseen photographs.", True
    )
    class_regex: str | None = _setting(
        "Insight",
        "Part of the label that is the class, e.g. '^\\w+': the fruit of 'Apple Braeburn 1'; default: all of it.",
        None,
        min_length=1,
    )
    group_regex: str | None = _setting(
        "Insight",
        "Part of the path below the input that belongs together, such as a rotation series, a tree or a day: no group "
        "is both learnt from and scored on.",
        None,
        min_length=1,
    )
    report: bool = _setting("Insight", "Draw the run's report, a page beside its table.", True)

    # Execution
    batch_size: int = _setting("Execution", "Photographs a network call.", 16, ge=1, le=1024)
    partitions: int | None = _setting("Execution", "Spark tasks a wave; default: by cores and photographs.", None, ge=1)
    wave_size: int | None = _setting(
        "Execution",
        "Photographs computed and committed together; default: by cores, at least a minute of work.",
        None,
        ge=1,
    )
    max_rejected_ratio: float = _setting(
        "Execution", "The run fails when a larger share of the photographs is rejected.", 0.1, ge=0, le=1
    )
    cores: int | None = _setting("Execution", "Cores of the embedded Spark; default: all.", None, ge=1)
    driver_memory: str = _setting(
        "Execution",
        "Memory of the driver, e.g. 512m or 2g; PCA holds at most half of it.",
        "2g",
        pattern=r"^[1-9][0-9]*[mg]$",
    )
    local_dir: str | None = _setting("Execution", "Folder for Spark's temporary files; default: the system's.", None)
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "Execution", "From 'info' on, Spark's and TensorFlow's own messages are shown too.", "warning"
    )

    # Output
    compact: Literal["auto", "never"] = _setting(
        "Output", "'auto': merge the feature store's small files after the run, where they have become many.", "auto"
    )
    csv: bool = _setting("Output", "Write projection.csv too, a column a component.", False)
    log_format: Literal["auto", "json"] = _setting(
        "Output",
        "'json': every line on stderr is a JSON object; 'auto': a bar on a terminal, elsewhere JSON lines and a few "
        "for people.",
        "auto",
    )
    progress_interval: float = _setting(
        "Output", "Seconds between two progress lines where stderr is no terminal.", 10.0, gt=0
    )
    eur_per_vcpu_hour: float | None = _setting(
        "Output",
        "What you pay for a core and hour, EUR; default: the region's published price of an m5.xlarge.",
        None,
        ge=0,
    )
    usd_per_eur: float | None = _setting(
        "Output", "Dollars for a euro; default: 1.105, the ECB's reference rate of 29 December 2023.", None, gt=0
    )
    spot_discount: float = _setting(
        "Output",
        "By which share spot nodes are assumed to be cheaper than the published price, e.g. 0.6.",
        0.0,
        ge=0,
        lt=1,
    )

    @field_validator("label", "exclude", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        """The environment can only say several globs in one string."""
        return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value

    @field_validator("node_region", mode="before")
    @classmethod
    def _split_semicolons(cls, value: object) -> object:
        """So for regions, whose legal basis may have commas in it."""
        return tuple(filter(None, (part.strip() for part in value.split(";")))) if isinstance(value, str) else value

    @field_validator("class_regex", "group_regex")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        return value

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.backbone == "pixels" and self.weights not in ("bundled", "random"):
            raise ValueError("backbone pixels has no weights: leave weights out")
        if self.alpha is not None and self.backbone != "mobilenet_v2":
            raise ValueError(f"alpha belongs to mobilenet_v2, not to {self.backbone}")
        if self.backbone == "vgg16" and self.weights == "bundled":
            raise ValueError("no vgg16 weights are bundled: give weights imagenet, random or a file")
        return self

    @property
    def variance_wanted(self) -> float | None:
        """The share of variance to reach, or None where a number of components was asked for."""
        return None if self.components is not None else self.variance

    @property
    def driver_bytes(self) -> int:
        """``driver_memory`` in bytes."""
        return int(self.driver_memory[:-1]) << {"m": 20, "g": 30}[self.driver_memory[-1]]

    @property
    def standardized(self) -> bool:
        """Whether features are divided by their standard deviation."""
        return self.backbone == "pixels" if self.standardize is None else self.standardize


def load(
    options: dict[str, Any], file: str | os.PathLike[str] | None = None, absent: dict[str, Any] | None = None
) -> RunConfig:
    """Merge defaults, YAML file, environment (``VERGER_...``) and options; later wins.

    Parameters
    ----------
    options : dict
        What the command line gave, by field name.
    file : path, optional
        YAML file with field names as keys.
    absent : dict, optional
        What stands in for required settings that nobody gave.

    Returns
    -------
    RunConfig

    Raises
    ------
    UsageError
        The file cannot be read, or a setting is wrong.
    """
    if file is not None and not os.path.isfile(file):
        raise UsageError(f"no configuration file at {file}", "Give --config an existing YAML file")

    class Merged(BaseSettings, RunConfig):
        model_config = SettingsConfigDict(env_prefix="VERGER_", env_ignore_empty=True, extra="forbid")

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            yaml = () if file is None else (YamlConfigSettingsSource(settings_cls, yaml_file=Path(file)),)
            return (init_settings, env_settings, *yaml, InitSettingsSource(settings_cls, absent or {}))

    if "variance" in options and "components" not in options:
        options = {**options, "components": None}
    try:
        merged = Merged(**options)
        rivals = {"variance", "components"}
        if merged.components is not None and rivals <= merged.model_fields_set and len(rivals & options.keys()) != 1:
            raise UsageError("variance and components exclude one another", "Give one of them")
        return RunConfig(**merged.model_dump(exclude_unset=True))
    except ValidationError as error:
        raise UsageError(_explain(error), "See `verger run --help`") from None
    except UsageError:
        raise
    except Exception as error:  # a YAML file that does not parse raises the parser's own types
        if file is None:
            raise
        raise UsageError(f"{file} is no YAML mapping of settings: {error}") from None


def _explain(error: ValidationError) -> str:
    """Put pydantic's findings on one line, each setting named as the user knows it."""
    findings = []
    for found in error.errors(include_url=False, include_context=False):
        where = ".".join(str(part) for part in found["loc"][:1])
        message = re.sub(r"^Value error, ", "", found["msg"])
        if found["type"] == "extra_forbidden":
            message = "unknown setting"
        elif found["type"] == "missing":
            message = "is required"
        elif where == "endpoint_url":  # not repeated, for it may hold a password
            message = "must be of the form http://HOST:PORT or https://HOST, without user, password and path"
        elif where:
            message = f"{message[0].lower()}{message[1:]} (got {found['input']!r})"
        findings.append(f"{where}: {message}" if where else message)
    return "; ".join(findings)
