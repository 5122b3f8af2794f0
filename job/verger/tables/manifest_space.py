"""The parts of manifest.json that say in which space the table is: features and principal components."""

from __future__ import annotations

from pydantic import Field

from verger.tables.manifest_parts import Number, Part


class Features(Part):
    """The features that the network computes."""

    fingerprint: str = Field(
        description="Name of the features' folder: two runs have the same one exactly if their features are the same."
    )
    backbone: str = Field(description="`mobilenet_v2`, `vgg16` or `pixels`.")
    weights_sha256: str | None = Field(description="SHA-256 of the file of weights; null where there is no file.")
    dimension: int = Field(description="Number of features of a photograph.")
    path: str = Field(description="Folder of the features.")


class Drift(Part):
    """How well components that another run has fitted describe the photographs of this run."""

    n_photographs: int = Field(description="Photographs that this was measured on.")
    share: Number = Field(description="Share of the variance of these photographs that the components explain, 0 to 1.")
    fit_share: Number = Field(description="Share of the variance that they explained in the fit, 0 to 1.")
    beyond: Number = Field(
        description="Share of the photographs that are farther from the components' space than expected, 0 to 1."
    )
    drifted: bool = Field(description="Whether `beyond` is more than 0.5.")


class Retention(Part):
    """What the space of an earlier run keeps of the variance of this run's photographs (`--pca auto`)."""

    space: str = Field(description="Id of the run that fitted the space.")
    kept_share: Number = Field(description="Share of today's variance that the space keeps, 0 to 1.")
    refit_share: Number = Field(description="Share that a refit with as many components would keep, 0 to 1.")
    least_share: Number = Field(description="A refit is due below this share.")
    n_components: int = Field(description="Components of the space.")
    refit_components: int = Field(description="Components that a refit would have.")
    due: bool = Field(description="Whether this run fitted the space anew.")
    reason: str = Field(description="Why, or why not.")


class PcaSummary(Part):
    """The principal components."""

    solver: str = Field(description="`gram`, `dual` or `randomized`.")
    n_photographs: int = Field(description="Photographs that it was fitted on.")
    requested: dict[str, int | float] = Field(description="`variance` (a share, 0 to 1) or `components` (a number).")
    n_components: int = Field(description="Number of components, k.")
    rank: int = Field(description="Directions in which the features vary; for `randomized`, of those that it computed.")
    explained_variance_ratio: list[Number] = Field(
        description="Share of the variance that each component explains, 0 to 1, the largest first."
    )
    total_variance: Number = Field(
        description="Sum of the variances of the features (divisor n - 1), in the square of their unit."
    )
    standardized: bool = Field(default=False, description="Whether each feature was divided by its standard deviation.")
    fitted_by: str = Field(description="Id of the run that fitted them.")
    fitted_in: str | None = Field(
        default=None, description="Absolute folder of that run, which may be in another output."
    )
    path: str = Field(description="Folder of `pca.npz` and `pca.json`.")
    kept: Drift | None = Field(
        default=None,
        description="How well they describe photographs that they were not fitted on; only after `verger project` and "
        "`--pca reuse`. Measured on all photographs or, where the run before is in the same space, on those that are "
        "new since; where none is, it is what that run says, and absent where it says nothing.",
    )
    kept_share: Number | None = Field(
        default=None,
        description="Share of the variance of all of this run's photographs that components of another run keep, 0 to "
        "1, from the sums of `moments.npz`; absent where there are none.",
    )
    retention: Retention | None = Field(
        default=None, description="What the space of the run before keeps of today's variance; only with `--pca auto`."
    )
    turned_to: str | None = Field(
        default=None,
        description="Id of the run whose components a refit was aligned with, in sign and, among equal variances, in "
        "order; only with `--pca auto`.",
    )
    rotation: list[list[Number]] | None = Field(
        default=None,
        description="Cosines between the components of a refit (rows) and those that it was aligned with (columns).",
    )
