"""What a classifier's accuracy and its threshold of 'none of these' are worth, in sentences."""

from __future__ import annotations

from typing import Any

FEW = 100
"""HeldOut-out photographs below which an accuracy is weak."""


def weakness(summary: dict[str, Any]) -> str:
    """Why an accuracy, random or not, is weak evidence, of a manifest's ``classifier``; '' where it is not."""
    if "weak" in summary:
        return str(summary["weak_because"] or "") if summary["weak"] else ""
    return f"fewer than {FEW} photographs were held out" if summary["n_test"] < FEW else ""


def none_of_these(unknown: dict[str, Any] | None) -> str:
    """From where on a photograph is none of the classes, and what that is worth; '' where nobody has asked.

    Parameters
    ----------
    unknown : dict or None
        The manifest's ``none_of_these``.
    """
    if unknown is None:
        return ""
    if "absent" in unknown:
        return f"No threshold tells whether a photograph is none of these classes: {unknown['absent']}."
    said = (
        f"None of these: farther than {unknown['threshold']:.3f} from every known photograph, as "
        f"{unknown['false_alarms']:.0%} of {unknown['n_held_out']:,} known ones were when they were held out "
        f"({unknown['split_says']}). "
    )
    if unknown["auroc"] is None:
        return said + f"What that finds is {unknown['says']}."
    (low, high), (least, most) = unknown["auroc_interval"], unknown["caught_interval"]
    return (
        said + f"Of {unknown['n_unknown']:,} photographs of classes that were left out, "
        f"{unknown['caught_at_5_percent']:.0%} ({least:.0%} to {most:.0%}) were caught; AUROC "
        f"{unknown['auroc']:.2f} ({low:.2f} to {high:.2f}){': weak evidence' if unknown['weak'] else ''}. "
        f"{unknown['says'][:1].upper()}{unknown['says'][1:]}."
    )
