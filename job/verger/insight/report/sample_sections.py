"""Sections of the page on the sample: scatter plot, statistics by label, typical and odd photographs."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from verger.insight.model import ClassifierDocument
from verger.insight.names import NO_LABEL, isolate, natural_key, relative_path, shorten, shorten_uniquely
from verger.insight.report import svg_charts
from verger.insight.report.audit_section import audit, photographs_shown
from verger.insight.report.content import Report
from verger.insight.report.label_statistics import LabelStatistics, balanced_sample, statistics_by_label
from verger.insight.report.sections import MAX_ROWS, NAME_COLUMNS
from verger.insight.report.templating import PATH_COLUMNS
from verger.insight.sample import Sample

MAX_DOTS = 1_500
"""In the scatter plot."""
MAX_PICTURED_DOTS = 400
"""Dots whose photograph is read."""
MAX_LABELS_SHOWN = 24
"""Labels whose typical and odd photographs are shown."""
MAX_ODDEST = 16
"""Oddest photographs of all labels."""
PHOTOGRAPHS_EACH = 3
"""Typical ones, and odd ones, of each label."""
MIN_ODD_SPREADS = 1.5
"""Distance from its label's centroid from which a photograph is shown among the oddest of all."""


class _LabelledSample:
    """The sample as these sections use it, row by row, with labels that are shortened and still differ."""

    def __init__(self, sample: Sample) -> None:
        self.photographs = sample.photographs
        labels = [label or NO_LABEL for label in self.photographs["label"].to_pylist()]
        short = shorten_uniquely(dict.fromkeys(labels), NAME_COLUMNS)
        self.full_name = {name: label for label, name in short.items()}
        self.labels = np.array([short[label] for label in labels], dtype=str)
        self.components = sample.components
        self.source = f"Measured on {sample.description}."
        self._root = sample.root.rstrip("/")

    def path(self, row: int) -> str:
        return str(self.photographs["path"][row].as_py())

    def version(self, row: int) -> str:
        return str(self.photographs["version"][row].as_py())

    def relative_path(self, row: int) -> str:
        return relative_path(self.path(row), self._root)


@dataclass(frozen=True)
class _Typical:
    """Photographs to show, as rows of the sample.

    Attributes
    ----------
    oddest : list of (int, str, float)
        Row, label and distance in spreads of the oddest photographs of all.
    sets : list of (str, list of int, list of int)
        Label, its most typical and its oddest photographs.
    """

    oddest: list[tuple[int, str, float]]
    sets: list[tuple[str, list[int], list[int]]]

    def rows(self) -> list[int]:
        """The most important first."""
        return [row for row, _, _ in self.oddest] + [row for _, usual, odd in self.sets for row in usual + odd]


def sections_with_photographs(report: Report, source: str) -> dict[str, Any]:
    """The sections that show photographs, the audit's included, so that thumbnails are read once for all of them.

    Parameters
    ----------
    report : Report
        What is drawn.
    source : str
        Canonical URI of the input, without a slash at the end.

    Returns
    -------
    dict
        ``audit``, and where there is a sample ``cloud``, ``statistics`` and ``typical``.
    """
    thumbnails: dict[str, str] = {}

    def photograph(path: str) -> dict[str, Any]:
        name, file = relative_path(path, source), PurePosixPath(path).name
        return {"picture": thumbnails.get(path), "name": name, "file": file, "alt": f"Photograph {name}"}

    if report.sample is None or not len(report.sample.components):
        return {"audit": audit(report, source, photograph)}
    sample = _LabelledSample(report.sample)
    by_label = statistics_by_label(sample.labels, sample.components)
    typical, dots = _choose_typical(by_label), balanced_sample(sample.labels, MAX_DOTS)
    rows = dict.fromkeys([*typical.rows(), *dots[:MAX_PICTURED_DOTS].tolist()])
    shown = [*photographs_shown(report), *((sample.path(row), sample.version(row)) for row in rows)]
    thumbnails |= report.read_thumbnails(list(dict.fromkeys(shown)))
    lead = (
        "By distance to the middle of their label in the space of the components; a spread is the root mean square "
        f"distance of its photographs. {sample.source}"
    )
    if not thumbnails:
        lead += f" {_why_no_thumbnails(report).capitalize()}: names are shown instead."
    if not typical.oddest:
        lead += f" None is {MIN_ODD_SPREADS:g} spreads from the middle of its label."
    title = "By label"
    if len(by_label) > MAX_LABELS_SHOWN:
        title = f"The {MAX_LABELS_SHOWN} of {len(by_label):,} labels whose oddest photograph is farthest out"
    return {
        "audit": audit(report, source, photograph),
        "cloud": _scatter(report, sample, dots, thumbnails),
        "statistics": _statistics(report, sample, by_label),
        "typical": {
            "lead": lead,
            "title": title,
            "oddest": [
                {**photograph(sample.path(row)), "label": label, "distance": distance}
                for row, label, distance in typical.oddest
            ],
            "sets": [
                {
                    "name": label,
                    "typical": [photograph(sample.path(row)) for row in usual],
                    "odd": [photograph(sample.path(row)) for row in odd],
                }
                for label, usual, odd in typical.sets
            ],
        },
    }


def _choose_typical(by_label: list[LabelStatistics]) -> _Typical:
    oddest = [
        (int(row), label.name, float(distance))
        for label in by_label
        if label.count > PHOTOGRAPHS_EACH
        for row, distance in zip(
            label.photographs[-PHOTOGRAPHS_EACH:], label.distances[-PHOTOGRAPHS_EACH:], strict=True
        )
        if distance >= MIN_ODD_SPREADS
    ]
    farthest = sorted(by_label, key=lambda label: -label.distances[-1])[:MAX_LABELS_SHOWN]
    sets = []
    for label in sorted(farthest, key=lambda label: natural_key(label.name)):
        rows = label.photographs.tolist()
        odd = rows[PHOTOGRAPHS_EACH:][-PHOTOGRAPHS_EACH:][::-1]
        sets.append((label.name, rows[:PHOTOGRAPHS_EACH], odd))
    return _Typical(sorted(oddest, key=lambda item: -item[2])[:MAX_ODDEST], sets)


def scatter_chart(report: Report) -> dict[str, Any] | None:
    """The scatter plot without thumbnails.

    Parameters
    ----------
    report : Report
        What is drawn.

    Returns
    -------
    dict or None
        Of `verger.insight.report.svg_charts.scatter`, and ``title``; None where there is no sample.
    """
    if report.sample is None or not len(report.sample.components):
        return None
    sample = _LabelledSample(report.sample)
    chart = _chart(report, sample, dots := balanced_sample(sample.labels, MAX_DOTS))
    n, labels = len(sample.labels), len(chart["groups"])
    title = f"{len(dots):,} of {n:,} photographs" if len(dots) < n else f"{n:,} photograph{'s' * (n != 1)}"
    title += (
        f" of {labels:,} label{'s' * (labels != 1)} in the first {'two components' if chart['k'] > 1 else 'component'}"
    )
    return {**chart, "title": title + (", coloured by class" if chart["by_class"] else "")}


def _chart(report: Report, sample: _LabelledSample, dots: npt.NDArray[np.intp]) -> dict[str, Any]:
    labels = sample.labels[dots]
    classes = _classes(labels, sample.full_name, report.classifier)
    return svg_charts.scatter(sample.components[dots], labels, report.manifest.pca.explained_variance_ratio, classes)


def _scatter(
    report: Report, sample: _LabelledSample, dots: npt.NDArray[np.intp], thumbnails: dict[str, str]
) -> dict[str, Any]:
    chart = _chart(report, sample, dots)
    numbers: dict[str, int] = {}
    photographs = []
    for row in dots.tolist():
        thumbnail = thumbnails.get(sample.path(row))
        number = numbers.setdefault(thumbnail, len(numbers)) if thumbnail else -1
        photographs.append([shorten(sample.relative_path(row), PATH_COLUMNS), str(sample.labels[row]), number])
    pictured, total = sum(sample.path(row) in thumbnails for row in dots.tolist()), len(sample.labels)
    which = "all" if len(dots) == total else f"{len(dots):,} of {total:,}, from all labels in turn"
    colours = "" if chart["few"] else " Colours follow the alphabet."
    if chart["by_class"]:
        named = f": {', '.join(map(isolate, chart['classes']))}" if chart["few"] else ""
        colours = f" Colours are classes{named}."
    return {
        **chart,
        "lead": f"A dot is a photograph ({which}). Click one, or a label, to see the label alone; point at one to see "
        f"its name{_picture_text(report, len(dots), pictured)}.{colours}",
        "alt": f"Scatter plot of {len(dots):,} photographs of {len(chart['groups']):,} labels; the table of statistics "
        "by label says the same in numbers",
        "data": {"photographs": photographs, "pictures": list(numbers)},
    }


def _why_no_thumbnails(report: Report) -> str:
    counts = report.thumbnail_counts
    if counts.left_out and counts.left_out == counts.wanted:
        return "photographs are too large or too slow for this page"
    return "no photograph could be read for this page"


def _picture_text(report: Report, dots: int, pictured: int) -> str:
    """How many of the dots have a picture."""
    if pictured == dots:
        return " and picture"
    return f", and of {pictured:,} the picture" if pictured else f" ({_why_no_thumbnails(report)})"


def _classes(
    labels: npt.NDArray[np.str_], full_name: dict[str, str], document: ClassifierDocument | None
) -> dict[str, str] | None:
    """The class of each label; None where classes are labels."""
    if document is None or document.class_regex is None:
        return None
    matches = {label: re.search(document.class_regex, full_name[label]) for label in set(labels.tolist())}
    return {label: shorten(match[0], NAME_COLUMNS) if match else "no class" for label, match in matches.items()}


def _statistics(report: Report, sample: _LabelledSample, by_label: list[LabelStatistics]) -> dict[str, Any]:
    rejected = Counter[str]()
    if report.rejected is not None:
        rejected.update(label or NO_LABEL for label in report.rejected["label"].to_pylist())
    rows = [
        {
            "name": label.name,
            "count": label.count,
            "rejected": rejected[sample.full_name[label.name]],
            "spread": label.spread,
            "nearest": label.nearest,
            "distance": label.distance_in_spreads,
        }
        for label in sorted(by_label, key=lambda label: natural_key(label.name))
    ]
    lead = ""
    distances = [(label.distance_in_spreads, label) for label in by_label if label.distance_in_spreads is not None]
    if distances:
        closest = min(distances, key=lambda pair: pair[0])[1]
        lead = f"The closest pair, for its width: {isolate(closest.name)} and {isolate(closest.nearest or '')}. "
    return {
        "lead": f"{lead}Spread is how far a label's photographs lie from its middle; below about 2 spreads to the "
        f"nearest label, the two overlap. {sample.source}",
        "rows": rows[:MAX_ROWS],
        "unlisted": max(0, len(rows) - MAX_ROWS),
    }
