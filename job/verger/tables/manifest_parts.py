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

    A field that is not given is absent from the JSON, and None is null. Keys that a newer version of Verger has added
    are kept as they are.
    """

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True, defer_build=True)

    def as_dict(self) -> dict[str, Any]:
        """The JSON object in the file.

        Returns
        -------
        dict
            Of dicts, lists, text, finite numbers, True, False and None.
        """
        document: dict[str, Any] = finite(self.model_dump(by_alias=True, exclude_unset=True))
        return document


class Place(Part):
    """A folder of photographs or of results."""

    uri: str = Field(description="Absolute path or `s3://` URI.")
    region: str | None = Field(
        description="Region of the bucket; null on a local disk, or where a store that is not AWS's reports none."
    )


class Photographs(Part):
    """Numbers of photographs; a failure has only those that the run had counted."""

    listed: int = Field(description="Photographs in the input that the settings select.")
    ignored: dict[str, int] = Field(
        default={},
        description="Other files in the input, by suffix; on a disk, also the folders and links that were passed over.",
    )
    known: int = Field(default=0, description="Photographs whose features were in the store already.")
    computed: int = Field(default=0, description="Photographs whose features this run computed.")
    rejected: int = Field(default=0, description="Photographs that are not in the table, as they cannot be used.")
    gone: int = Field(
        default=0, description="Photographs below the input that are in the store, but no longer in the input."
    )
    projected: int = Field(default=0, description="Rows of the table.")


class Projection(Part):
    """The table."""

    path: str = Field(description="Folder of the Parquet files.")
    rows: int = Field(description="Photographs.")
    columns: int = Field(description="Components a photograph.")


class SnapshotPart(Part):
    """What the run stood on, for the next run to compare itself with."""

    path: str = Field(description="Folder of the Parquet files.")
    rows: int = Field(description="Photographs.")
    base: str | None = Field(
        description="Id of the run that this one was compared with; null where the feature store was read instead."
    )


class Absent(Part):
    """The reason why a result is missing."""

    absent: str = Field(description="Why there is no result. There is no other key then.")


class Baselines(Part):
    """Accuracies of simple rules, 0 to 1."""

    majority: Number = Field(description="Always predicting the most frequent class.")
    nearest_centroid: Number = Field(description="Predicting the class whose mean is nearest.")


class LeftOut(Part):
    """Photographs of the sample that the saved model is not fitted on."""

    no_class: int = Field(description="Photographs without a label, or with one that the pattern does not match.")
    alone_in_its_class: int = Field(description="Photographs that are the only one of their class.")


class Score(Part):
    """The scores of one way to hold photographs out."""

    split: str = Field(description="`own`, `grouped` or `random`.")
    says: str = Field(description="The split in words.")
    folds: int = Field(description="Number of folds: how often photographs were held out.")
    n_train: int = Field(description="Photographs in the largest training part.")
    n_test: int = Field(description="Held-out photographs that were scored.")
    unjudged: int = Field(
        description="Held-out photographs that were not scored, as their class is in no training part."
    )
    n_classes_judged: int = Field(description="Classes of the scored photographs.")
    accuracy: Number = Field(description="Share that was classified correctly, 0 to 1.")
    macro_f1: Number = Field(description="Mean over the classes of their F1, 0 to 1.")
    majority: Number = Field(description="Accuracy of always predicting the most frequent class, 0 to 1.")
    nearest_centroid: Number = Field(description="Accuracy of predicting the class whose mean is nearest, 0 to 1.")


class NoneOfThese(Part):
    """The threshold beyond which a photograph is none of the classes, and its quality; docs/identify.md explains it."""

    threshold: Number = Field(description="Distance beyond which a photograph is none of the classes, 0 to 2.")
    false_alarms: Number = Field(description="Share of known photographs beyond it, which is chosen: 0.05.")
    split: str = Field(description="How known photographs were held out: `own`, `grouped` or `random`.")
    split_says: str = Field(description="The same in words.")
    n_references: int = Field(description="Photographs that others are compared with.")
    n_held_out: int = Field(description="Known photographs that the threshold was set on.")
    auroc: float | None = Field(
        description="Area under the ROC curve, 0 to 1, of separating unknown photographs from known ones; null, as are "
        "the next four, where nothing could be measured."
    )
    auroc_interval: list[float] | None = Field(description="Both ends of its 95 % interval.")
    caught_at_5_percent: float | None = Field(
        description="Share of unknown photographs beyond the threshold that 5 % of the known ones are beyond, 0 to 1."
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
    """The tag of a result, or of the reason why there is none."""
    return "absent" if isinstance(value, Absent) or (isinstance(value, dict) and "absent" in value) else "found"


NoneOfTheseResult = Annotated[
    Annotated[NoneOfThese, Tag("found")] | Annotated[Absent, Tag("absent")], Discriminator(_which)
]
"""The threshold, or why there is none."""


class ClassifierSummary(Part):
    """The first classifier and its evaluation, but for where it is."""

    n_classes: int = Field(description="Classes.")
    class_regex: str | None = Field(description="Part of the label that is the class; null: all of it.")
    group_regex: str | None = Field(
        description="Part of the path that says which photographs belong together, or null."
    )
    n_groups: int | None = Field(
        default=None, description="Groups; null without `group_regex`, and where each photograph is a group of its own."
    )
    n_photographs: int = Field(description="Photographs that the saved model is fitted on.")
    left_out: LeftOut = Field(description="Photographs of the sample that it is not fitted on.")
    sample: str = Field(description="The photographs that were analysed, in words.")
    split: str = Field(description="The most honest split that the photographs allow: `own`, `grouped` or `random`.")
    says: str = Field(description="The split in words.")
    n_test: int = Field(description="Photographs held out by this split that were scored.")
    accuracy: Number = Field(description="Share of these that was classified correctly, 0 to 1.")
    macro_f1: Number = Field(description="Mean over the classes of their F1, 0 to 1.")
    baselines: Baselines = Field(description="Accuracies of simple rules on the same photographs.")
    optimistic: bool = Field(description="Whether the split is random, so that the score is too high.")
    weak: bool | None = Field(default=None, description="Whether the score is weak evidence for another reason.")
    weak_because: str | None = Field(default=None, description="That reason in words, or null.")
    note: str | None = Field(
        default=None,
        description="A note on the score, or null: the components are of another run.",
    )
    near_duplicates_across: float | None = Field(
        default=None,
        description="Share of the held-out photographs with a near-duplicate in Training, 0 to 1; null but for the "
        "split `own`, or without an audit.",
    )
    scores: list[Score] = Field(description="The figures of every split, the most honest first.")
    temperature: Number = Field(description="Number by which logits are divided.")
    calibration_error: float | None = Field(
        description="Expected calibration error, 0 to 1; null where too few photographs were held out."
    )
    none_of_these: NoneOfTheseResult | None = Field(
        default=None,
        description="The threshold beyond which a photograph is none of the classes, or why there is none; absent from "
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

    found: int | None = Field(description="How many there are; null where they were not looked for.")
    listed: int = Field(description="Rows of the audit's table of this kind.")


class NearDuplicates(Part):
    """How photographs were compared."""

    cosine: Number = Field(description="Cosine of their features from which two photographs are near-duplicates.")
    pairs: int = Field(description="Pairs of near-duplicates.")
    photographs_compared: int = Field(description="Photographs that were compared.")
    across: str | None = Field(
        default=None,
        description='The splits between which they were searched for, such as "Test and Training"; null without both.',
    )


class Outliers(Part):
    """The threshold for outliers."""

    robust_standard_deviations: Number = Field(
        description="Robust standard deviations from the centre of its label beyond which a photograph is an outlier."
    )


class ThinLabels(Part):
    """The threshold for labels with few photographs."""

    photographs_below: int = Field(description="A label with fewer photographs than this is thin.")


class SuspectedMislabels(Part):
    """The basis of suspected mislabels."""

    photographs_judged: int = Field(
        description="Photographs that were held out from the classifier that predicted their class."
    )
    accuracy: Number = Field(description="Share of these whose class was predicted as labelled, 0 to 1.")
    weak: bool = Field(description="Whether `accuracy` is too low to rely on the suspicions.")


class AuditSummary(Part):
    """What the audit of the photographs has found; docs/classifier.md explains it."""

    counts: dict[str, Count] = Field(
        description="By kind: `duplicate`, `duplicate_other_label`, `near_duplicate`, `near_duplicate_across_splits` "
        "(held-out photographs), `outlier`, `suspected_mislabel`, `thin_label`."
    )
    sample: str = Field(description="The photographs that were analysed, in words.")
    near_duplicates: NearDuplicates = Field(description="How photographs were compared.")
    outliers: Outliers = Field(description="The threshold for outliers.")
    thin_labels: ThinLabels = Field(description="The threshold for labels with few photographs.")
    suspected_mislabels: SuspectedMislabels | None = Field(
        default=None, description="The basis of suspected mislabels; absent without a classifier."
    )
    path: str = Field(description="Folder of the audit's table.")


class ReportPage(Part):
    """The report."""

    path: str = Field(description="The page `index.html`.")


class Throughput(Part):
    """How fast features were computed, including the preparation of the network."""

    photographs_per_s: Number = Field(description="Photographs per second; 0 where none was computed.")
    photographs_per_s_per_core: Number = Field(description="Photographs per second and core.")


class Cost(Part):
    """The cost of the run's cores from its start to its end."""

    eur: float | None = Field(description="EUR; null where the price is unknown.")
    eur_per_1000: float | None = Field(
        description="EUR for a thousand photographs computed; null where the price is unknown, or none was computed."
    )
    assumptions: list[str] = Field(description="Assumptions and the source of the prices, in sentences.")


class OptIn(Part):
    """A region that was used although it is not an AWS region in the EU."""

    region: str = Field(description="The region.")
    country: str | None = Field(default=None, description="Country of another cloud's region; absent for AWS's.")
    basis: str = Field(description="Legal basis on which data may be there, in the user's words.")


class ResidencyRecord(Part):
    """Where the data was."""

    verdict: str = Field(description="`local`, `eu` or `eu by opt-in`.")
    evidence: list[str] = Field(description="Each check and its result, in sentences.")
    opt_ins: list[OptIn] = Field(description="Regions that were used by opt-in.")


class Environment(Part):
    """Versions of the software that features and components depend on; null for what is not installed."""

    python: str = Field(description="Version of Python.")
    spark: str | None = Field(default=None, description="Version of pyspark.")
    tensorflow: str | None = Field(default=None, description="Version of TensorFlow.")
    pillow: str | None = Field(default=None, description="Version of Pillow.")
    numpy: str | None = Field(default=None, description="Version of NumPy.")
    pyarrow: str | None = Field(default=None, description="Version of PyArrow.")
    scikit_learn: str | None = Field(default=None, alias="scikit-learn", description="Version of scikit-learn.")
