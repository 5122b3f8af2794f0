"""Values that the report derives from a run's manifest."""

from __future__ import annotations

from datetime import datetime

from verger.tables.manifest import Manifest
from verger.tables.manifest_parts import Absent
from verger.tables.manifest_space import PcaSummary


def variance_kept(pca: PcaSummary) -> float:
    """Share of the variance that the components keep, of the photographs that they were fitted on.

    Parameters
    ----------
    pca : PcaSummary
        The manifest's ``pca``.

    Returns
    -------
    float
        From 0 to 1.
    """
    return float(sum(pca.explained_variance_ratio[: pca.n_components]))


def variance_kept_of_run(manifest: Manifest) -> float | None:
    """Share of the variance that the components keep, of the run's own photographs.

    Parameters
    ----------
    manifest : Manifest
        The run's.

    Returns
    -------
    float or None
        From 0 to 1; None where another run fitted the components and this was not measured.
    """
    pca = manifest.pca
    if pca.kept_share is not None:
        return pca.kept_share
    if pca.kept is not None and pca.kept.n_photographs == manifest.projection.rows:
        return pca.kept.share
    # With a copied table another run fitted them on the same photographs.
    same = pca.kept is None and pca.n_photographs == manifest.projection.rows
    return variance_kept(pca) if same or not is_pca_reused(manifest) else None


def is_pca_reused(manifest: Manifest) -> bool:
    """Whether another run fitted the components.

    Parameters
    ----------
    manifest : Manifest
        The run's.
    """
    return manifest.pca.fitted_by != manifest.run_id


def duration(manifest: Manifest) -> float:
    """How long the run took, up to when its manifest was made.

    Parameters
    ----------
    manifest : Manifest
        The run's.

    Returns
    -------
    float
        Seconds.
    """
    start, end = map(datetime.fromisoformat, (manifest.started_at, manifest.finished_at))
    return (end - start).total_seconds()


def issue_counts(manifest: Manifest) -> dict[str, int | None]:
    """How many issues of each kind the audit has found.

    Parameters
    ----------
    manifest : Manifest
        The run's.

    Returns
    -------
    dict of str to int or None
        By kind; None where a check could not look for them. Empty where the run was not audited.
    """
    return {kind: count.found for kind, count in manifest.audit.counts.items()} if manifest.audit else {}


def compared_splits(manifest: Manifest) -> str:
    """The splits between which the audit has looked for near-duplicates, such as 'Test and Training'.

    Parameters
    ----------
    manifest : Manifest
        The run's.
    """
    across = manifest.audit.near_duplicates.across if manifest.audit else None
    return across or "Training and Test"


def are_mislabels_weak(manifest: Manifest) -> bool:
    """Whether suspected mislabels are weak evidence, because the classifier errs too often.

    Parameters
    ----------
    manifest : Manifest
        The run's.
    """
    mislabels = manifest.audit.suspected_mislabels if manifest.audit else None
    return mislabels is not None and mislabels.weak


def thin_label_limit(manifest: Manifest) -> int:
    """Photographs below which the audit calls a label thin.

    Parameters
    ----------
    manifest : Manifest
        The run's; 10 where it was not audited.
    """
    return manifest.audit.thin_labels.photographs_below if manifest.audit else 10


def why_no_classifier(manifest: Manifest) -> str:
    """A sentence on why a run has no classifier.

    Parameters
    ----------
    manifest : Manifest
        Of a run without classifier.
    """
    pattern = manifest.config.get("class_regex")
    if isinstance(manifest.classifier, Absent):
        return (
            f"There is no classifier: {manifest.classifier.absent}{f' (--class-regex {pattern})' if pattern else ''}."
        )
    wanted = manifest.config.get("classifier")
    if wanted is None:
        return "The run was made by a version that had no classifier."
    return "There is none; the warnings say why." if wanted else "No classifier was asked for (--no-classifier)."
