"""What a classifier's accuracy and its threshold of 'none of these' are worth, in sentences."""

from __future__ import annotations

from verger.tables.manifest_parts import Absent, ClassifierSummary, NoneOfThese

MIN_HELD_OUT = 100
"""Held-out photographs below which an accuracy is weak evidence."""


def weak_because(classifier: ClassifierSummary) -> str:
    """Why an accuracy is weak evidence.

    Parameters
    ----------
    classifier : ClassifierSummary
        The manifest's ``classifier``. Runs of older versions have no ``weak`` in it.

    Returns
    -------
    str
        A phrase; empty where the accuracy is no weak evidence.
    """
    if classifier.weak is not None:
        return classifier.weak_because or "" if classifier.weak else ""
    return f"fewer than {MIN_HELD_OUT} photographs were held out" if classifier.n_test < MIN_HELD_OUT else ""


def describe_none_of_these(threshold: NoneOfThese | Absent | None) -> str:
    """The threshold beyond which a photograph is none of the classes, and what it is worth.

    Parameters
    ----------
    threshold : NoneOfThese, Absent or None
        The manifest's ``classifier.none_of_these``; None in runs of older versions.

    Returns
    -------
    str
        Sentences; empty where there is nothing to describe.
    """
    if threshold is None:
        return ""
    if isinstance(threshold, Absent):
        return f"No threshold tells whether a photograph is none of these classes: {threshold.absent}."
    text = (
        f"None of these: farther than {threshold.threshold:.3f} from every known photograph. "
        f"{threshold.false_alarms:.0%} of {threshold.n_held_out:,} known ones were farther when they were held "
        f"out ({threshold.split_says}). "
    )
    auroc, caught = threshold.auroc, threshold.caught_at_5_percent
    if auroc is None or caught is None or threshold.auroc_interval is None or threshold.caught_interval is None:
        return text + f"How many photographs of other classes are farther is {threshold.says}."
    (auroc_low, auroc_high), (caught_low, caught_high) = threshold.auroc_interval, threshold.caught_interval
    return (
        text + f"Of {threshold.n_unknown:,} photographs of classes that were left out, "
        f"{caught:.0%} ({caught_low:.0%} to {caught_high:.0%}) were farther; AUROC "
        f"{auroc:.2f} ({auroc_low:.2f} to {auroc_high:.2f})"
        f"{': weak evidence' if threshold.weak else ''}. "
        f"{threshold.says[:1].upper()}{threshold.says[1:]}."
    )
