"""Values that the report derives from a run's manifest."""

from __future__ import annotations

from datetime import datetime
from typing import Any


def variance_kept(pca: dict[str, Any]) -> float:
    """Share of the variance that the components keep, of the photographs that they were fitted on.

    Parameters
    ----------
    pca : dict
        The manifest's ``pca``.

    Returns
    -------
    float
        From 0 to 1.
    """
    return float(sum(pca["explained_variance_ratio"][: pca["n_components"]]))


def variance_kept_of_run(manifest: dict[str, Any]) -> float | None:
    """Share of the variance that the components keep, of the run's own photographs.

    Parameters
    ----------
    manifest : dict
        The run's.

    Returns
    -------
    float or None
        From 0 to 1; None where another run fitted the components and this was not measured.
    """
    pca = manifest["pca"]
    if "kept" in pca:
        return float(pca["kept"]["share"])
    return None if is_pca_reused(manifest) else variance_kept(pca)


def is_pca_reused(manifest: dict[str, Any]) -> bool:
    """Whether another run fitted the components.

    Parameters
    ----------
    manifest : dict
        The run's.
    """
    return bool(manifest["pca"]["fitted_by"] != manifest["run_id"])


def duration(manifest: dict[str, Any]) -> float:
    """How long the run took, up to when its manifest was made.

    Parameters
    ----------
    manifest : dict
        The run's.

    Returns
    -------
    float
        Seconds.
    """
    start, end = (datetime.fromisoformat(manifest[key]) for key in ("started_at", "finished_at"))
    return (end - start).total_seconds()


def issue_counts(manifest: dict[str, Any]) -> dict[str, int | None]:
    """How many issues of each kind the audit has found.

    Parameters
    ----------
    manifest : dict
        The run's.

    Returns
    -------
    dict of str to int or None
        By kind; None where a check could not look for them. Empty where the run was not audited.
    """
    counts = (manifest.get("audit") or {}).get("counts") or {}
    return {kind: count["found"] for kind, count in counts.items()}


def compared_splits(manifest: dict[str, Any]) -> str:
    """The splits between which the audit has looked for near-duplicates, such as 'Test and Training'.

    Parameters
    ----------
    manifest : dict
        The run's.
    """
    audit = manifest.get("audit") or {}
    return str(audit.get("near_duplicates", {}).get("across") or "Training and Test")


def are_mislabels_weak(manifest: dict[str, Any]) -> bool:
    """Whether suspected mislabels are weak evidence, because the classifier errs too often.

    Parameters
    ----------
    manifest : dict
        The run's.
    """
    return bool((manifest.get("audit") or {}).get("suspected_mislabels", {}).get("weak"))


def thin_label_limit(manifest: dict[str, Any]) -> int:
    """Photographs below which the audit calls a label thin.

    Parameters
    ----------
    manifest : dict
        The run's; 10 where it was not audited.
    """
    audit = manifest.get("audit") or {}
    return int(audit.get("thin_labels", {}).get("photographs_below", 10))


def why_no_classifier(manifest: dict[str, Any]) -> str:
    """A sentence on why a run has no classifier.

    Parameters
    ----------
    manifest : dict
        Of a run without classifier.
    """
    why, pattern = (manifest.get("classifier") or {}).get("absent"), manifest["config"].get("class_regex")
    if why:
        return f"There is no classifier: {why}{f' (--class-regex {pattern})' if pattern else ''}."
    wanted = manifest["config"].get("classifier")
    if wanted is None:
        return "The run was made by a version that had no classifier."
    return "There is none; the warnings say why." if wanted else "No classifier was asked for (--no-classifier)."
