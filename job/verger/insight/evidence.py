"""What a classifier's accuracy and its threshold of 'none of these' are worth, in sentences."""

from __future__ import annotations

from typing import Any

MIN_HELD_OUT = 100
"""Held-out photographs below which an accuracy is weak evidence."""


def weak_because(classifier: dict[str, Any]) -> str:
    """Why an accuracy is weak evidence.

    Parameters
    ----------
    classifier : dict
        The manifest's ``classifier``, which has an accuracy. Runs of older versions have no ``weak`` in it.

    Returns
    -------
    str
        A phrase; empty where the accuracy is no weak evidence.
    """
    if "weak" in classifier:
        return str(classifier["weak_because"] or "") if classifier["weak"] else ""
    return f"fewer than {MIN_HELD_OUT} photographs were held out" if classifier["n_test"] < MIN_HELD_OUT else ""


def describe_none_of_these(threshold: dict[str, Any] | None) -> str:
    """The threshold beyond which a photograph is none of the classes, and what it is worth.

    Parameters
    ----------
    threshold : dict or None
        The manifest's ``classifier.none_of_these``; None in runs of older versions.

    Returns
    -------
    str
        Sentences; empty where there is nothing to describe.
    """
    if threshold is None:
        return ""
    if "absent" in threshold:
        return f"No threshold tells whether a photograph is none of these classes: {threshold['absent']}."
    text = (
        f"None of these: farther than {threshold['threshold']:.3f} from every known photograph. "
        f"{threshold['false_alarms']:.0%} of {threshold['n_held_out']:,} known ones were farther when they were held "
        f"out ({threshold['split_says']}). "
    )
    if threshold["auroc"] is None:
        return text + f"How many photographs of other classes are farther is {threshold['says']}."
    (auroc_low, auroc_high), (caught_low, caught_high) = threshold["auroc_interval"], threshold["caught_interval"]
    return (
        text + f"Of {threshold['n_unknown']:,} photographs of classes that were left out, "
        f"{threshold['caught_at_5_percent']:.0%} ({caught_low:.0%} to {caught_high:.0%}) were farther; AUROC "
        f"{threshold['auroc']:.2f} ({auroc_low:.2f} to {auroc_high:.2f})"
        f"{': weak evidence' if threshold['weak'] else ''}. "
        f"{threshold['says'][:1].upper()}{threshold['says'][1:]}."
    )
