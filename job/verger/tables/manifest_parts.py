"""The parts of manifest.json and failure.json, each with the meaning and the unit of its keys."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema

from verger.jsonable import finite


def _nan_if_null(value: Any) -> Any:
    return math.nan if value is None else value


Number = Annotated[float, BeforeValidator(_nan_if_null), WithJsonSchema({"type": ["number", "null"]})]
"""A number that JSON writes as null where it is not finite."""


class Part(BaseModel):
    """A JSON object of the manifest.

    A field that is not given is absent from the JSON; one that is None is null there. Keys that a newer verger has
    added are kept as they are.
    """

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True, defer_build=True)

    def as_dict(self) -> dict[str, Any]:
        """What its file holds.

        Returns
        -------
        dict
            Of what JSON has: dicts, lists, text, numbers that are finite, True, False and None.
        """
        document: dict[str, Any] = finite(self.model_dump(by_alias=True, exclude_unset=True))
        return document


class Place(Part):
    """Where photographs come from, or where results go."""

    uri: str = Field(description="Absolute path or `s3://` URI.")
    region: str | None = Field(
        description="Region of the bucket; null on a local disk, or where a store that is not AWS's tells none."
    )


class Photographs(Part):
    """How many photographs a run has counted; a failure lacks what the run did not come to count."""

    listed: int = Field(description="Photographs in the input that the settings select.")
    ignored: dict[str, int] = Field(default={}, description="Other files in the input, by suffix.")
    known: int = Field(default=0, description="Those whose features were in the store.")
    computed: int = Field(default=0, description="Those whose features this run computed.")
    rejected: int = Field(default=0, description="Those that are not in the table, for a fault of theirs.")
    gone: int = Field(
        default=0, description="Photographs below the input that are in the store, but no longer in the input."
    )
    projected: int = Field(default=0, description="Rows of the table.")


class Features(Part):
    """What the network makes of a photograph."""

    fingerprint: str = Field(description="Name of the features' folder: equal exactly where the features are.")
    backbone: str = Field(description="`mobilenet_v2`, `vgg16` or `pixels`.")
    weights_sha256: str | None = Field(description="SHA-256 of the weights' file; null where there is no file.")
    dimension: int = Field(description="Numbers a photograph.")
    path: str = Field(description="Folder of the features.")


class Drift(Part):
    """How well components that another run has fitted suit the photographs of this one."""

    n_photographs: int = Field(description="Photographs that were measured.")
    share: Number = Field(description="Share of these photographs' variance that the components keep, 0 to 1.")
    fit_share: Number = Field(description="Share of the variance that they kept in the fit, 0 to 1.")
    beyond: Number = Field(
        description="Share of the photographs that lie further from the components than expected by the fit, 0 to 1."
    )
    drifted: bool = Field(description="Whether that is more than half of them.")


class PcaSummary(Part):
    """The principal components."""

    solver: str = Field(description="`gram`, `dual` or `randomized`.")
    n_photographs: int = Field(description="Photographs that it was fitted on.")
    requested: dict[str, int | float] = Field(description="`variance` (a share, 0 to 1) or `components` (a number).")
    n_components: int = Field(description="Number of components, k.")
    rank: int = Field(
        description="Directions in which the features vary; for `randomized`, of those that it looked at."
    )
    explained_variance_ratio: list[Number] = Field(
        description="Share of the variance that each component keeps, 0 to 1, the largest first."
    )
    total_variance: Number = Field(
        description="Sum of the variances of the features, divisor n - 1, in the features' unit squared."
    )
    standardized: bool = Field(default=False, description="Whether each feature was divided by its standard deviation.")
    fitted_by: str = Field(description="Id of the run that fitted them.")
    fitted_in: str | None = Field(
        default=None, description="Folder of that run, absolute: it may be in another output."
    )
    path: str = Field(description="Folder of `pca.npz` and `pca.json`.")
    kept: Drift | None = Field(
        default=None,
        description="How well they suit these photographs; only after `verger project` and `--pca reuse`.",
    )


class Projection(Part):
    """The table."""

    path: str = Field(description="Folder of the Parquet files.")
    rows: int = Field(description="Photographs.")
    columns: int = Field(description="Components a photograph.")


class Absent(Part):
    """What stands in place of a result that could not be had."""

    absent: str = Field(description="The reason why there is none; no other key is there then.")


class Baselines(Part):
    """Accuracies of what needs no training, 0 to 1."""

    majority: Number = Field(description="Always saying the most frequent class.")
    nearest_centroid: Number = Field(description="Saying the class whose mean is nearest.")


class LeftOut(Part):
    """Photographs of the sample that the kept model is not fitted on."""

    no_class: int = Field(description="Those without label, or whose label the pattern does not match.")
    alone_in_its_class: int = Field(description="Those that no other photograph shares the class with.")


class Score(Part):
    """The figures of one way to hold photographs out."""

    split: str = Field(description="`own`, `grouped` or `random`.")
    says: str = Field(description="The split in words.")
    folds: int = Field(description="How often photographs were held out.")
    n_train: int = Field(description="Photographs in the largest training part.")
    n_test: int = Field(description="Photographs that were held out, and count.")
    unjudged: int = Field(
        description="Held-out photographs that do not count, as their class stands in no training part."
    )
    n_classes_judged: int = Field(description="Classes of those that count.")
    accuracy: Number = Field(description="Share that was named rightly, 0 to 1.")
    macro_f1: Number = Field(description="Mean over the classes of their F1, 0 to 1.")
    majority: Number = Field(description="Accuracy of always saying the most frequent class, 0 to 1.")
    nearest_centroid: Number = Field(description="Accuracy of saying the class whose mean is nearest, 0 to 1.")


class NoneOfThese(Part):
    """From where on a photograph is none of the classes, and how well that is told; docs/identify.md explains it."""

    threshold: Number = Field(description="Distance beyond which a photograph is none of the classes, 0 to 2.")
    false_alarms: Number = Field(description="Share of known photographs that lie beyond it, by intent: 0.05.")
    split: str = Field(description="How known photographs were held out: `own`, `grouped` or `random`.")
    split_says: str = Field(description="The same in words.")
    n_references: int = Field(description="Photographs that others are compared with.")
    n_held_out: int = Field(description="Known photographs that the threshold was set on.")
    auroc: float | None = Field(
        description="Area under the ROC curve, 0 to 1, in telling unknown photographs from known ones; null, as are "
        "the next four, where nothing could be measured."
    )
    auroc_interval: list[float] | None = Field(description="Both ends of its 95 % interval.")
    caught_at_5_percent: float | None = Field(
        description="Share of unknown photographs, 0 to 1, that is caught where 5 % of the known ones are."
    )
    caught_interval: list[float] | None = Field(description="Both ends of its 95 % interval.")
    weak: bool | None = Field(
        description="Whether `auroc` is below 0.8, or 5 % of what the own split holds out have a near-duplicate in "
        "Training."
    )
    n_known: int = Field(description="Known photographs that this was measured on.")
    n_unknown: int = Field(description="Photographs of classes that were left out, likewise.")
    n_classes: int = Field(description="Classes.")
    says: str = Field(description="How it was measured, or why not.")


def _which(value: Any) -> str:
    """Whether a result is there, or only the reason why there is none."""
    return "absent" if isinstance(value, Absent) or (isinstance(value, dict) and "absent" in value) else "found"


NoneOfTheseResult = Annotated[
    Annotated[NoneOfThese, Tag("found")] | Annotated[Absent, Tag("absent")], Discriminator(_which)
]
"""The threshold, or why there is none."""


class ClassifierSummary(Part):
    """The first classifier and its evaluation, but for where it is."""

    n_classes: int = Field(description="Classes.")
    class_regex: str | None = Field(description="What of a label is the class; null: all of it.")
    group_regex: str | None = Field(description="What of a path says which photographs belong together, or null.")
    n_groups: int | None = Field(
        default=None, description="Groups; null without `group_regex`, and where it keeps nothing together."
    )
    n_photographs: int = Field(description="Photographs that the kept model is fitted on.")
    left_out: LeftOut = Field(description="Photographs of the sample that it is not fitted on.")
    sample: str = Field(description="What was taken of the run, in words.")
    split: str = Field(description="The most honest split that the photographs allow: `own`, `grouped` or `random`.")
    says: str = Field(description="The split in words.")
    n_test: int = Field(description="Photographs that were held out by it, and count.")
    accuracy: Number = Field(description="Share of these that was named rightly, 0 to 1.")
    macro_f1: Number = Field(description="Mean over the classes of their F1, 0 to 1.")
    baselines: Baselines = Field(description="What needs no training, on the same photographs.")
    optimistic: bool = Field(description="Whether the split is random.")
    weak: bool | None = Field(default=None, description="Whether the score is weak evidence for another reason.")
    weak_because: str | None = Field(default=None, description="That reason in words, or null.")
    note: str | None = Field(
        default=None,
        description="What else a reader of the score must know, or null: the components are another run's.",
    )
    near_duplicates_across: float | None = Field(
        default=None,
        description="Share of the held-out photographs with a near-duplicate in Training, 0 to 1; null but for the "
        "split `own`, or without an audit.",
    )
    scores: list[Score] = Field(description="The figures of every split, the most honest first.")
    temperature: Number = Field(description="Number that logits are divided by.")
    calibration_error: float | None = Field(
        description="Expected calibration error, 0 to 1; null where too few photographs were held out."
    )
    none_of_these: NoneOfTheseResult | None = Field(
        default=None,
        description="From where on a photograph is none of the classes, or why that is not known; absent from "
        "older manifests.",
    )


class Classifier(ClassifierSummary):
    """The first classifier and its evaluation; docs/classifier.md explains it."""

    path: str = Field(description="Folder of the classifier.")


ClassifierResult = Annotated[
    Annotated[Classifier, Tag("found")] | Annotated[Absent, Tag("absent")], Discriminator(_which)
]
"""The classifier, or why there is none."""


class Count(Part):
    """Photographs of one kind of finding; labels, for `thin_label`."""

    found: int | None = Field(description="How many there are; null where nobody has looked.")
    listed: int = Field(description="How many rows of the audit's table are of this kind.")


class NearDuplicates(Part):
    """How photographs were compared."""

    cosine: Number = Field(description="Cosine of their features from which two photographs are near-duplicates.")
    pairs: int = Field(description="Pairs of near-duplicates.")
    photographs_compared: int = Field(description="Photographs that were compared.")
    across: str | None = Field(
        default=None,
        description='The splits between which they were sought, such as "Test and Training"; null without both.',
    )


class Outliers(Part):
    """What is an outlier."""

    robust_standard_deviations: Number = Field(
        description="Robust standard deviations beyond the middle of its label from which a photograph is one."
    )


class ThinLabels(Part):
    """What is a thin label."""

    photographs_below: int = Field(description="Photographs below which a label is thin.")


class SuspectedMislabels(Part):
    """What suspected mislabels rest on."""

    photographs_judged: int = Field(description="Photographs that a classifier which had not seen them has named.")
    accuracy: Number = Field(description="Share of these that it named as their label does, 0 to 1.")
    weak: bool = Field(description="Whether that is too little to suspect labels by.")


class AuditSummary(Part):
    """What the audit of the photographs has found; docs/classifier.md explains it."""

    counts: dict[str, Count] = Field(
        description="By kind: `duplicate`, `duplicate_other_label`, `near_duplicate`, `near_duplicate_across_splits` "
        "(held-out photographs), `outlier`, `suspected_mislabel`, `thin_label`."
    )
    sample: str = Field(description="What was taken of the run, in words.")
    near_duplicates: NearDuplicates = Field(description="How photographs were compared.")
    outliers: Outliers = Field(description="What is an outlier.")
    thin_labels: ThinLabels = Field(description="What is a thin label.")
    suspected_mislabels: SuspectedMislabels | None = Field(
        default=None, description="What suspected mislabels rest on; absent without a classifier."
    )
    path: str = Field(description="Folder of the audit's table.")


class ReportPage(Part):
    """The page for people."""

    path: str = Field(description="The page.")


class Throughput(Part):
    """How fast features were computed, the preparation of the network included."""

    photographs_per_s: Number = Field(description="Photographs a second; 0 where none was computed.")
    photographs_per_s_per_core: Number = Field(description="The same a core.")


class Cost(Part):
    """What the cores of the run cost from its start to its end."""

    eur: float | None = Field(description="Euros; null where the price is unknown.")
    eur_per_1000: float | None = Field(
        description="Euros a thousand photographs computed; null where the price is unknown, or none was computed."
    )
    assumptions: list[str] = Field(description="What was assumed, and where prices come from, in sentences.")


class OptIn(Part):
    """A region that was used though it is not one of AWS's in the EU."""

    region: str = Field(description="The region.")
    country: str | None = Field(default=None, description="Country of another cloud's region; absent for AWS's.")
    basis: str = Field(description="Legal basis on which data may be there, in the user's words.")


class ResidencyRecord(Part):
    """Where data stood."""

    verdict: str = Field(description="`local`, `eu` or `eu by opt-in`.")
    evidence: list[str] = Field(description="What was asked and what it answered, in sentences.")
    opt_ins: list[OptIn] = Field(description="Regions that were used by opt-in.")


class Environment(Part):
    """Versions of what features and components depend on; null for what is not installed."""

    python: str = Field(description="Version of Python.")
    spark: str | None = Field(default=None, description="Version of pyspark.")
    tensorflow: str | None = Field(default=None, description="Version of TensorFlow.")
    pillow: str | None = Field(default=None, description="Version of Pillow.")
    numpy: str | None = Field(default=None, description="Version of NumPy.")
    pyarrow: str | None = Field(default=None, description="Version of PyArrow.")
    scikit_learn: str | None = Field(default=None, alias="scikit-learn", description="Version of scikit-learn.")
