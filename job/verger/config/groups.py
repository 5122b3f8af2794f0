"""The settings of what a run does, in groups. A function takes the narrowest group that it needs.

`verger.config.RunConfig` inherits from all of them and from those of `verger.config.store_groups`, so that the names of
settings have no prefix.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import field_validator, model_validator
from pydantic_settings import NoDecode

from verger.config.fields import Glob, Group, setting, split


class SelectionSettings(Group):
    """Which photographs of the input are used."""

    label: Annotated[tuple[Glob, ...], NoDecode] = setting(
        "Which photographs", "Keep only labels that match this glob (repeatable).", ()
    )
    exclude: Annotated[tuple[Glob, ...], NoDecode] = setting(
        "Which photographs",
        "Leave out photographs whose label, or path below the input, matches this glob (repeatable).",
        (),
    )
    max_labels: int | None = setting(
        "Which photographs", "Keep at most this many labels: the first in alphabetical order.", None, ge=1
    )
    max_photographs: int | None = setting(
        "Which photographs",
        "Keep at most this many photographs: a sample that is balanced over labels and the same every time.",
        None,
        ge=1,
    )

    @field_validator("label", "exclude", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        """A variable holds several globs in one string."""
        return split(value, ",")


class NetworkSettings(Group):
    """Which network computes the features, and how photographs are preprocessed."""

    backbone: Literal["mobilenet_v2", "vgg16", "pixels"] = setting(
        "Network",
        "Network that computes the features, or 'pixels': the features are the pixels of the resized photograph.",
        "mobilenet_v2",
    )
    pooling: Literal["avg", "none"] = setting(
        "Network",
        "'avg': average the last layer over positions (global average pooling); 'none': take all of its values.",
        "avg",
    )
    alpha: float | None = setting(
        "Network", "Width multiplier of mobilenet_v2; default: that of the weights.", None, gt=0, le=2
    )
    input_size: int | None = setting(
        "Network",
        "Side of the square input in pixels, at least 32 (backbone pixels: 8); default: that of the weights (backbone "
        "pixels: 20).",
        None,
        ge=8,
        le=1024,
    )
    weights: str = setting(
        "Network",
        "'bundled' (part of Verger), 'imagenet' (pretrained), 'random', or the path or URI of a .h5, .keras or .npz "
        "file.",
        "bundled",
    )
    weights_dir: str | None = setting(
        "Network",
        "Folder that is searched for 'imagenet' weights before Keras' cache; if neither has them, they are downloaded.",
        None,
    )
    weights_sha256: str | None = setting(
        "Network",
        "SHA-256 that the file of weights must have, as 64 hexadecimal digits.",
        None,
        pattern=r"^[0-9a-f]{64}$",
    )
    precision: Literal["float32", "bfloat16"] = setting(
        "Network", "Number format of the convolutions; bfloat16 is faster on CPUs that support it.", "float32"
    )
    resample: Literal["bicubic", "bilinear"] = setting(
        "Network", "Filter of Pillow with which photographs are resized.", "bicubic"
    )
    fit: Literal["stretch", "crop", "pad"] = setting(
        "Network", "How a photograph is made square: stretch it, crop its middle, or pad it with white.", "stretch"
    )
    decode: Literal["full", "scaled"] = setting(
        "Network",
        "'full': decode all pixels; 'scaled': decode a large JPEG at a half, a quarter or an eighth of its size, which "
        "is faster and changes features slightly.",
        "full",
    )

    @model_validator(mode="after")
    def _check_network(self) -> Self:
        if self.backbone == "pixels" and self.weights not in ("bundled", "random"):
            raise ValueError("backbone pixels has no weights: leave weights out")
        if self.alpha is not None and self.backbone != "mobilenet_v2":
            raise ValueError(f"alpha is only for mobilenet_v2, not for {self.backbone}")
        if self.backbone == "vgg16" and self.weights == "bundled":
            raise ValueError("no vgg16 weights are bundled: give weights imagenet, random or a file")
        return self


class ComponentSettings(Group):
    """How the principal components are fitted."""

    variance: float = setting(
        "Components",
        "Keep the fewest components that together explain at least this share of the variance.",
        0.8,
        gt=0,
        le=1,
    )
    components: int | None = setting(
        "Components", "Keep exactly this many components, instead of a share of the variance.", None, ge=1
    )
    pca: Literal["fit", "auto", "reuse"] = setting(
        "Components",
        "'fit' a new PCA; 'auto': keep that of the run before while it keeps what is asked for of today's variance; "
        "'reuse': keep that of the latest run. Where it is kept, only new photographs are projected.",
        "fit",
    )
    standardize: bool | None = setting(
        "Components",
        "Divide each feature by its standard deviation before the PCA; default: only for backbone pixels.",
        None,
    )
    solver: Literal["auto", "exact", "randomized"] = setting(
        "Components",
        "How the PCA is computed: 'exact', 'randomized' (an approximation), or 'auto': exact unless there is too much "
        "data.",
        "auto",
    )
    seed: int = setting(
        "Components",
        "Seed of random numbers: for random weights, the randomized solver, and samples and folds of the classifier.",
        0,
        ge=0,
        lt=2**31,
    )

    @property
    def requested_variance(self) -> float | None:
        """The share of the variance to explain, 0 to 1; None where a number of components was requested."""
        return None if self.components is not None else self.variance


class InsightSettings(Group):
    """What is learnt about the photographs after the projection."""

    classifier: bool = setting(
        "Insight", "Fit a classifier on the components, and measure it on photographs that it was not fitted on.", True
    )
    class_regex: str | None = setting(
        "Insight",
        "Regular expression for the part of the label that is the class: '^\\w+' takes Apple from 'Apple Braeburn 1'. "
        "Default: the whole label.",
        None,
        min_length=1,
    )
    group_regex: str | None = setting(
        "Insight",
        "Regular expression for the part of the path below the input that names a group of similar photographs, such "
        "as one tree or one day. The classifier is never fitted and measured on the same group.",
        None,
        min_length=1,
    )
    audit: bool = setting(
        "Insight", "Look for duplicates, outliers and suspected mislabels among the photographs.", True
    )
    report: bool = setting("Insight", "Draw the report of the run, an HTML page with charts.", True)

    @field_validator("class_regex", "group_regex")
    @classmethod
    def _check_regex(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from None
        return value


class ExtractionSettings(Group):
    """How photographs are divided into waves, tasks and batches."""

    batch_size: int = setting("Execution", "Photographs that the network computes at a time.", 16, ge=1, le=1024)
    partitions: int | None = setting(
        "Execution", "Spark tasks in a wave; default: by the number of cores and photographs.", None, ge=1
    )
    wave_size: int | None = setting(
        "Execution",
        "Photographs in a wave, which is a job of Spark; default: by the number of cores, at least a minute of work.",
        None,
        ge=1,
    )
    max_rejected_ratio: float = setting(
        "Execution", "The run fails if a larger share of the photographs is rejected.", 0.1, ge=0, le=1
    )


class SparkSettings(Group):
    """How Spark runs."""

    cores: int | None = setting("Execution", "Cores that Spark uses on this machine; default: all.", None, ge=1)
    driver_memory: str = setting(
        "Execution",
        "Memory of the Spark driver, e.g. 512m or 2g; the PCA uses at most half of it.",
        "2g",
        pattern=r"^[1-9][0-9]*[mg]$",
    )
    local_dir: str | None = setting(
        "Execution",
        "Folder for Spark's temporary files and native libraries; default: the system's temporary folder.",
        None,
    )

    executors_timeout: float = setting(
        "Execution",
        "Seconds without a single executor after which a run on a cluster ends, where it needs one; 0 for no limit.",
        1800,
        ge=0,
    )

    @property
    def driver_bytes(self) -> int:
        """``driver_memory`` in bytes."""
        return int(self.driver_memory[:-1]) << {"m": 20, "g": 30}[self.driver_memory[-1]]


class LogLevelSettings(Group):
    """Which messages are shown."""

    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "Execution", "Which messages are shown; 'info' and 'debug' include those of Spark and TensorFlow.", "warning"
    )


class TableSettings(Group):
    """Further output, and the compaction of the feature store."""

    compact: Literal["auto", "never"] = setting(
        "Output", "'auto': after the run, merge the small files of the feature store if there are many.", "auto"
    )
    csv: bool = setting("Output", "Write projection.csv too, with one column for each component.", False)


class LogSettings(LogLevelSettings):
    """The output on stderr."""

    log_format: Literal["auto", "json"] = setting(
        "Output",
        "'json': every line on stderr is a JSON object; 'auto': a progress bar on a terminal, else JSON lines and some "
        "plain text.",
        "auto",
    )
    progress_interval: float = setting(
        "Output", "Seconds between two progress lines if stderr is not a terminal.", 5.0, gt=0
    )


class CostSettings(Group):
    """The prices from which the cost of a run is computed."""

    eur_per_vcpu_hour: float | None = setting(
        "Output",
        "Price of one core for one hour, EUR; default: the published price of an m5.xlarge in the region.",
        None,
        ge=0,
    )
    usd_per_eur: float | None = setting(
        "Output", "US dollars for one euro; default: 1.105, the ECB's reference rate of 29 December 2023.", None, gt=0
    )
    spot_discount: float = setting(
        "Output",
        "Share by which spot nodes are cheaper than the published price: 0.6 means 60 % cheaper.",
        0.0,
        ge=0,
        lt=1,
    )
