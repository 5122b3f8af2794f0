"""What the page's template shows: a run's figures as rows and sentences, bounded in number."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from verger.insight.names import NO_LABEL, below, cut, isolated, natural, told_apart
from verger.insight.report import sections, svg_charts
from verger.insight.report.content import Report
from verger.insight.report.label_statistics import Statistics, balanced, statistics
from verger.insight.report.sections import MAX_LISTED, NAMED, NOTHING
from verger.insight.report.verdict import KINDS, Kind, across, counts, euros, judge, mislabels_weak
from verger.insight.sample import Sample

MAX_DOTS = 1_500
MAX_PICTURED = 400
MAX_SETS = 24
MAX_ODDEST = 16
MAX_FINDINGS = 8
MAX_NAME = 120
"""Columns of text in a path."""
MAX_MESSAGE = 240
EACH = 3
ODD = 1.5
"""Spreads from which a photograph is shown among the oddest of all."""

Photo = Callable[[str], dict[str, Any]]

SECTIONS = {
    "labels": "Labels",
    "components": "Components",
    "scatter": "Scatter",
    "statistics": "Statistics",
    "typical": "Typical and odd",
    "audit": "Audit",
    "rejects": "Rejects",
    "classifier": "Classifier",
    "since": "Since the last run",
    "time": "Time",
    "cost": "Cost",
    "residency": "Residency",
    "configuration": "Configuration",
}


def significant(value: float) -> str:
    """Three digits that count, the last ones too where they are noughts: 6.50, 0.0120, 1,234."""
    decimals = 2 - math.floor(math.log10(value)) if value > 0 else 2
    return f"{value:,.{min(max(decimals, 0), 6)}f}"


FILTERS: dict[str, Callable[..., str]] = {
    "n": lambda value: f"{value:,}",
    "pct": lambda value: f"{value:.1%}",
    "eur": euros,
    "sig": significant,
    "pystring": repr,
    "cut": lambda name: cut(name, MAX_NAME),
}


def of(report: Report) -> dict[str, Any]:
    """All that the template asks for."""
    manifest = report.manifest
    sampled = _Sampled(report.sample) if report.sample is not None else None
    shown = _shown(report, sampled)
    source = manifest["input"]["uri"].rstrip("/")
    output = manifest["output"]["uri"].rstrip("/")
    started = datetime.fromisoformat(manifest["started_at"])
    return {
        "m": manifest,
        "sections": list(SECTIONS.items()),
        "when": f"{started:%-d %B %Y, %H:%M} UTC",
        "verdict": judge(manifest, report.in_table),
        "table": f"{output}/runs/{manifest['run_id']}",
        "labels": sections.labels(report),
        "scree": sections.scree(report),
        "cloud": None,
        "statistics": None,
        "typical": None,
        "rejects": sections.rejects(report, source),
        "classifier": sections.classifier(report),
        "since": sections.since(report),
        "time": sections.time(manifest),
        "residency": {"lead": sections.residence(manifest)},
        "command": sections.command(manifest),
        "settings": [(name.replace("_", "-"), sections.plainly(value)) for name, value in manifest["config"].items()],
        "footer": f"Drawn by verger {manifest['verger_version']} from {output}/runs/{manifest['run_id']}. "
        "Features stay in the store: the same command again computes only what is new.",
        "why": {
            "sample": "The photographs' components could not be read for the report; the warnings say why.",
            "audit": "This run was not audited; where that was not wanted, the warnings say why.",
            "classifier": sections.unclassified(manifest),
            "since": "This is the first finished run of its name, or the one before cannot be read any more.",
        },
        **shown,
    }


class _Sampled:
    """The sample as the page uses it: labels and points, row by row, and what a row is called."""

    def __init__(self, sample: Sample) -> None:
        self.photographs = sample.photographs
        labels = [label or NO_LABEL for label in self.photographs["label"].to_pylist()]
        self.whole = {short: label for label, short in told_apart(dict.fromkeys(labels), NAMED).items()}
        short = {label: short for short, label in self.whole.items()}
        self.labels = np.array([short[label] for label in labels], dtype=str)
        self.points = sample.components
        self.stated = f"Measured on {sample.stated}."
        self._source = sample.root.rstrip("/")

    def path(self, row: int) -> str:
        return str(self.photographs["path"][row].as_py())

    def version(self, row: int) -> str:
        return str(self.photographs["version"][row].as_py())

    def name(self, row: int) -> str:
        return below(self.path(row), self._source)


def _labelled(label: str | None) -> str:
    return label or NO_LABEL


def _shown(report: Report, sampled: _Sampled | None) -> dict[str, Any]:
    """What shows photographs: scatter, typical and odd ones, audit; one bounded set of thumbnails for all of them."""
    source = report.manifest["input"]["uri"].rstrip("/")
    pictures: dict[str, str] = {}

    def photo(path: str) -> dict[str, Any]:
        name = below(path, source)
        return {"picture": pictures.get(path), "name": name, "file": short(path), "alt": f"Photograph {name}"}

    if sampled is None or not len(sampled.points):
        return {"audit": _audit(report, source, photo)}
    by_label = statistics(sampled.labels, sampled.points)
    typical = _typical(by_label)
    dots = balanced(sampled.labels, MAX_DOTS)
    wanted = [row for row, _, _ in typical["oddest"]]
    wanted += [row for _, rows in typical["sets"] for row in rows[0] + rows[1]]
    rows = dict.fromkeys([*wanted, *dots[:MAX_PICTURED].tolist()])
    shown = [*_of_findings(report), *((sampled.path(row), sampled.version(row)) for row in rows)]
    pictures |= report.pictures(list(dict.fromkeys(shown)))
    unseen = "" if pictures else f" {_unseen(report).capitalize()}: names stand in their place."
    return {
        "audit": _audit(report, source, photo),
        "cloud": _cloud(report, sampled, dots, pictures),
        "statistics": _statistics(report, sampled, by_label),
        "typical": {
            "lead": "By distance to the middle of their label in the space of the components; a spread is the root "
            f"mean square distance of its photographs. {sampled.stated}{unseen}"
            + ("" if typical["oddest"] else f" None is {ODD:g} spreads from the middle of its label."),
            "title": "By label"
            if len(by_label) <= MAX_SETS
            else f"The {MAX_SETS} of {len(by_label):,} labels whose oddest photograph is farthest out",
            "oddest": [
                {**photo(sampled.path(row)), "label": label, "distance": distance}
                for row, label, distance in typical["oddest"]
            ],
            "sets": [
                {
                    "name": name,
                    "typical": [photo(sampled.path(row)) for row in usual],
                    "odd": [photo(sampled.path(row)) for row in odd],
                }
                for name, (usual, odd) in typical["sets"]
            ],
        },
    }


def _of_findings(report: Report) -> list[tuple[str, str]]:
    """Path and version of the photographs that the audit's section shows."""
    rows = [row for kind in KINDS for row in _gravest(report, kind)]
    paths = [path for row in rows for path in (row["path"], row["other_path"]) if path]
    if not paths or report.sample is None:
        return []
    named = report.sample.named
    found = named.filter(pc.is_in(named["path"], value_set=pa.array(paths)))
    return list(zip(found["path"].to_pylist(), found["version"].to_pylist(), strict=True))


def _typical(by_label: list[Statistics]) -> dict[str, Any]:
    """Rows of the oddest photographs of all, and of each label's most typical and oddest ones."""
    far = sorted(by_label, key=lambda label: -label.distances[-1])[:MAX_SETS]
    oddest = [
        (int(row), label.name, float(distance))
        for label in by_label
        if label.count > EACH
        for row, distance in zip(label.photographs[-EACH:], label.distances[-EACH:], strict=True)
        if distance >= ODD
    ]
    sets = []
    for label in sorted(far, key=lambda label: natural(label.name)):
        rows = label.photographs.tolist()
        odd = rows[EACH:][-EACH:][::-1]
        sets.append((label.name, (rows[:EACH], odd)))
    return {"oddest": sorted(oddest, key=lambda item: -item[2])[:MAX_ODDEST], "sets": sets}


def _cloud(report: Report, sampled: _Sampled, dots: Any, pictures: dict[str, str]) -> dict[str, Any]:
    labels = sampled.labels[dots]
    ratios = report.manifest["pca"]["explained_variance_ratio"]
    classes = _classes(labels, sampled.whole, report.classifier)
    drawn = svg_charts.scatter(sampled.points[dots], labels, ratios, classes)
    numbers: dict[str, int] = {}
    photographs = []
    for row in dots.tolist():
        picture = pictures.get(sampled.path(row))
        number = numbers.setdefault(picture, len(numbers)) if picture else -1
        photographs.append([cut(sampled.name(row), MAX_NAME), str(sampled.labels[row]), number])
    shown, total = sum(sampled.path(row) in pictures for row in dots.tolist()), len(sampled.labels)
    many = "all" if len(dots) == total else f"{len(dots):,} of {total:,}, from all labels in turn"
    colours = "" if drawn["few"] else " Colours follow the alphabet."
    if classes:
        colours = (
            f" Colours are classes: {', '.join(map(isolated, drawn['classes']))}."
            if drawn["few"]
            else " Colours are classes."
        )
    return {
        **drawn,
        "lead": f"A dot is a photograph ({many}). Click one, or a label, to see the label alone; point at one to see "
        f"its name{_pictured(report, len(dots), shown)}.{colours}",
        "alt": f"Scatter plot of {len(dots):,} photographs of {len(drawn['groups']):,} labels; the table of statistics "
        "by label says the same in numbers",
        "data": {"photographs": photographs, "pictures": list(numbers)},
    }


def _unseen(report: Report) -> str:
    """Why the page has no pictures."""
    all_left_out = report.counts.left_out and report.counts.left_out == report.counts.wanted
    return (
        "photographs are too large or too slow for this page"
        if all_left_out
        else "no photograph could be read for this page"
    )


def _pictured(report: Report, dots: int, pictures: int) -> str:
    """How many of the dots have a picture: photographs are read up to a bound in number, bytes and seconds."""
    if pictures == dots:
        return " and picture"
    return f", and of {pictures:,} the picture" if pictures else f" ({_unseen(report)})"


def _classes(labels: Any, whole: dict[str, str], document: dict[str, Any] | None) -> dict[str, str] | None:
    """The class of each label, where the two are not the same."""
    if document is None or document["class_regex"] is None:
        return None
    matches = {label: re.search(document["class_regex"], whole[label]) for label in set(labels.tolist())}
    return {label: cut(match[0], NAMED) if match else "no class" for label, match in matches.items()}


def _statistics(report: Report, sampled: _Sampled, by_label: list[Statistics]) -> dict[str, Any]:
    rejected = Counter([] if report.rejected is None else map(_labelled, report.rejected["label"].to_pylist()))
    whole = sampled.whole
    apart = [(label.apart, label) for label in by_label if label.apart is not None]
    rows = [
        {
            "name": label.name,
            "count": label.count,
            "rejected": rejected[whole[label.name]],
            "spread": label.spread,
            "nearest": label.nearest,
            "apart": label.apart,
        }
        for label in sorted(by_label, key=lambda label: natural(label.name))
    ]
    close = min(apart, key=lambda pair: pair[0])[1] if apart else None
    lead = (
        f"The closest pair, for its width: {isolated(close.name)} and {isolated(close.nearest or '')}. "
        if close
        else ""
    )
    return {
        "lead": f"{lead}Spread is how far a label's photographs lie from its middle; below about 2 spreads to the "
        f"nearest label, the two overlap. {sampled.stated}",
        "rows": rows[:MAX_LISTED],
        "unlisted": max(0, len(rows) - MAX_LISTED),
    }


def _audit(report: Report, source: str, photo: Photo) -> dict[str, Any] | None:
    summary = report.manifest.get("audit")
    if not summary or "counts" not in summary:
        return None
    found = counts(report.manifest)
    total = sum(count or 0 for kind, count in found.items() if kind in KINDS and KINDS[kind].act)
    beyond = any((found.get(kind) or 0) > int(of["listed"]) >= MAX_LISTED for kind, of in summary["counts"].items())
    weak, sides = mislabels_weak(report.manifest), across(report.manifest)
    compared = summary["near_duplicates"]["photographs_compared"]
    return {
        "lead": (
            f"{total:,} finding{'s' if total > 1 else ''} to act on. " if total else "Nothing to act on was found. "
        )
        + f"Looked at: {summary['sample']}; {compared:,} compared with one another"
        + ("; suspected mislabels are weak evidence, the classifier errs too often." if weak else "."),
        "rows": [
            {
                "title": kind.title.format(across=sides),
                "count": found.get(name, 0),
                "todo": _todo(report.manifest, kind, found.get(name, 0)),
                "act": kind.act,
            }
            for name, kind in KINDS.items()
        ],
        "kinds": [
            _of_kind(
                kind.title.format(across=sides),
                int(summary["counts"][name]["listed"]),
                [_finding(row, source, photo) for row in rows],
            )
            for name, kind in KINDS.items()
            if (rows := _gravest(report, name))
        ],
        "where": f"runs/{report.manifest['run_id']}/audit/",
        "which": f"The gravest {MAX_LISTED:,} of each kind" if beyond else "Every finding",
    }


def _todo(manifest: dict[str, Any], kind: Kind, found: int | None) -> str:
    """What to do about a kind of finding; why it was not looked for where it was not."""
    if found is None:
        return sections.unclassified(manifest)
    return kind.todo if found else NOTHING


def _of_kind(title: str, listed: int, shown: list[dict[str, Any]]) -> dict[str, Any]:
    photographs = [it for row in shown for it in (row["one"], row["other"]) if it]
    return {"title": title, "listed": listed, "shown": shown, "pictured": any(it["picture"] for it in photographs)}


def _gravest(report: Report, kind: str) -> list[dict[str, Any]]:
    """The first findings of a kind: the table has the gravest first."""
    if report.audit is None:
        return []
    rows = report.audit.filter(pc.equal(report.audit["kind"], kind))
    return list(rows.slice(0, MAX_FINDINGS).to_pylist())


def _finding(row: dict[str, Any], source: str, photo: Photo) -> dict[str, Any]:
    one, other = row["path"], row["other_path"]
    return {
        "label": cut(row["label"] or NO_LABEL, NAMED),
        "one": photo(one) if one else None,
        "other": photo(other) if other else None,
        "message": cut(row["message"].replace(source + "/", ""), MAX_MESSAGE),
    }


def short(path: str) -> str:
    """The last part of a path."""
    return PurePosixPath(path).name
