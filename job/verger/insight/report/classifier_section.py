"""Section of the page on the classifier: its scores, and where it errs."""

from __future__ import annotations

from typing import Any

from verger.insight.evidence import describe_none_of_these, weak_because
from verger.insight.model import ClassifierDocument
from verger.insight.names import shorten, shorten_uniquely
from verger.insight.report import svg_charts
from verger.insight.report.content import Report
from verger.insight.report.sections import MAX_ROWS, NAME_COLUMNS
from verger.tables.manifest_parts import Classifier

MAX_NUMBERED = 20
"""Classes up to which the confusion matrix has numbers."""
MAX_CONFUSIONS = 10

OPTIMISTIC = (
    "Photographs of one tree, one day or one series look alike and are on both sides of the split, so new photographs "
    "will be told apart less well than this. Say with --group-regex what belongs together, or keep folders Training "
    "and Test."
)


def classifier(report: Report) -> dict[str, Any] | None:
    """The classifier's scores by every split, and where it errs; None where there is no classifier.

    Parameters
    ----------
    report : Report
        What is drawn.
    """
    document, summary = report.classifier, report.manifest.classifier
    if document is None:
        return None
    if isinstance(summary, Classifier):  # in older runs, what the audit adds is in the manifest alone
        added = summary.model_fields_set & {"weak", "weak_because", "note"}
        document = document.model_copy(update={name: getattr(summary, name) for name in added})
    first, names = document.scores[0], list(shorten_uniquely(document.classes, NAME_COLUMNS).values())
    matrix = document.confusion_matrix
    return {
        "lead": _lead(document),
        "note": _sentence(document.note),
        "weak": _sentence(weak_because(document)),
        "optimistic": document.optimistic and OPTIMISTIC,
        "scores": [score.model_copy(update={"says": _capitalized(score.says)}) for score in document.scores],
        "how": _how(document),
        "none_of_these": describe_none_of_these(document.none_of_these),
        "names": names,
        "matrix": matrix
        and len(names) <= MAX_NUMBERED
        and [_matrix_row(name, row) for name, row in zip(names, matrix, strict=True)],
        "shades": matrix and len(names) > MAX_NUMBERED and svg_charts.matrix(names, matrix),
        "confusions": [
            row | {key: shorten(row[key], NAME_COLUMNS) for key in ("class", "taken_for")}
            for row in document.confusions[:MAX_CONFUSIONS]
        ],
        "by_class": [row | {"class": shorten(row["class"], NAME_COLUMNS)} for row in document.by_class[:MAX_ROWS]],
        "reliability": document.calibration and svg_charts.reliability(document.calibration),
        "uncalibrated": f"{first.n_test:,} photographs held out are too few to say how far its probabilities can be "
        "believed.",
    }


def _lead(document: ClassifierDocument) -> str:
    """The most honest score in sentences, what it leaves out, and the random split's score where it is higher."""
    first, n_classes = document.scores[0], document.n_classes
    lead = (
        f"Of {first.n_test:,} held-out photographs, {first.accuracy:.1%} are given the right one of "
        f"{n_classes:,} classes. Always predicting the largest class would be right for {first.majority:.1%}, "
        f"the nearest centroid for {first.nearest_centroid:.1%}."
    )
    if first.nearest_centroid > first.accuracy:
        lead += " The nearest centroid is simpler, and does better."
    if unjudged := first.unjudged:
        lead += f" {unjudged:,} more are not judged, because their class is in no training part"
        lead += f": {first.n_classes_judged:,} of {n_classes:,} classes are judged."
    by_chance = next((score for score in document.scores[1:] if score.split == "random"), None)
    if by_chance and by_chance.accuracy > first.accuracy:
        lead += f" A random split would have said {by_chance.accuracy:.1%}: do not believe that one."
    return lead


def _how(document: ClassifierDocument) -> str:
    """How the classifier was made, in sentences."""
    pattern, group = document.class_regex, document.group_regex
    class_text = "the whole label" if pattern is None else f"what {pattern} finds in the label"
    if group is None:
        group_text = "No groups were named."
    elif document.n_groups is None and "n_groups" in document.model_fields_set:
        group_text = f"--group-regex {group} was ignored: the warnings say why."
    else:
        group_text = f"A group is what {group} finds in the path."
    text = (
        "Logistic regression on the components. Scaler, PCA and classifier are fitted inside each training part. "
        f"A class is {class_text}. {group_text} The kept model is fitted on {document.n_photographs:,} photographs."
    )
    left_out = document.left_out.no_class + document.left_out.alone_in_its_class
    return text + (f" {left_out:,} have no class or are the only one of it, and are left out." if left_out else "")


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sentence(text: str | None) -> str:
    return f"{_capitalized(text).rstrip('.')}." if text else ""


def _matrix_row(name: str, row: list[int]) -> dict[str, Any]:
    total = sum(row) or 1
    return {"name": name, "cells": [{"count": count, "share": round(count / total, 3)} for count in row]}
