"""What the page's template shows: a run's figures as rows and sentences, bounded in number."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from verger.config import RunConfig
from verger.insight import charts
from verger.insight.labels import NO_LABEL, Statistics, balanced, natural, statistics
from verger.insight.verdict import KINDS, counts, duration, euros, judge, kept, seconds

if TYPE_CHECKING:
    from verger.insight.report import Report
    from verger.insight.sample import Sample

MAX_DOTS = 1_500
MAX_PICTURED = 400
MAX_LABELS = 60
MAX_LISTED = 1_000
MAX_SETS = 24
MAX_ODDEST = 16
MAX_REJECTS = 100
MAX_FINDINGS = 8
THIN = 10
MAX_NUMBERED = 20
MAX_CONFUSIONS = 10
EACH = 3

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

_STAGES = {
    "preflight": "Asking the stores",
    "list": "Listing photographs",
    "subtract": "Looking up what is known",
    "session": "Starting Spark",
    "features": "Computing features",
    "components": "Fitting the components",
    "drift": "Measuring how well they fit",
    "projection": "Projecting, reading back",
    "sample": "Sampling for the report",
    "classifier": "Classifier",
    "audit": "Audit",
    "report": "Report",
}

FILTERS = {
    "n": lambda value: f"{value:,}",
    "pct": lambda value: f"{value:.1%}",
    "eur": euros,
    "sig": lambda value: f"{value:.3g}",
    "pystring": repr,
}


def view(report: Report) -> dict[str, Any]:
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
        "verdict": judge(manifest),
        "table": f"{output}/runs/{manifest['run_id']}",
        "labels": _labels(manifest),
        "scree": _scree(report),
        "cloud": None,
        "statistics": None,
        "typical": None,
                "rejects": _rejects(report, source),
        "classifier": _classifier(report.classifier),
        "since": _since(report),
        "time": _time(manifest),
        "residency": {"lead": _residence(manifest)},
        "command": command(manifest),
        "settings": [(name.replace("_", "-"), _plainly(value)) for name, value in manifest["config"].items()],
        "footer": f"Drawn by verger {manifest['verger_version']} from {output}/runs/{manifest['run_id']}. "
        "Features stay in the store: the same command again computes only what is new.",
        "why": {
            "sample": "The photographs' components could not be read for the report; the warnings say why.",
            "audit": "This run was not audited." if "audit" not in manifest else "The audit failed; the warnings say why.",
            "classifier": _unclassified(manifest),
            "since": "This is the first finished run of its name, or the one before cannot be read any more.",
        },
        **shown,
    }


class _Sampled:
    """The sample as the page uses it: labels and points, row by row, and what a row is called."""

    def __init__(self, sample: Sample) -> None:
        self.photographs = sample.photographs
        self.labels = np.array([label or NO_LABEL for label in self.photographs["label"].to_pylist()], dtype=str)
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


def below(path: str, source: str) -> str:
    """A path as people who know the input read it."""
    return path.removeprefix(source + "/")


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
    pictures |= report.pictures([*_of_findings(report), *((sampled.path(row), sampled.version(row)) for row in rows)])
    return {
        "audit": _audit(report, source, photo),
        "cloud": _cloud(report, sampled, dots, pictures),
        "statistics": _statistics(report, by_label, sampled.stated),
        "typical": {
            "lead": "By distance to the middle of their label in the space of the components; a spread is the root "
            f"mean square distance of its photographs. {sampled.stated}",
            "title": "By label"
            if len(by_label) <= MAX_SETS
            else f"The {MAX_SETS} of {len(by_label):,} labels whose oddest photograph is farthest out",
            "oddest": [
                {**photo(sampled.path(row)), "label": label, "distance": distance}
                for row, label, distance in typical["oddest"]
            ],
            "sets": [
                {"name": name, **{end: [photo(sampled.path(row)) for row in of] for end, of in zip(("typical", "odd"), rows, strict=True)}}
                for name, rows in typical["sets"]
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
    classes = _classes(labels, report.classifier)
    drawn = charts.scatter(sampled.points[dots], labels, ratios, classes)
    numbers: dict[str, int] = {}
    photographs = []
    for row in dots.tolist():
        picture = pictures.get(sampled.path(row))
        number = numbers.setdefault(picture, len(numbers)) if picture else -1
        photographs.append([sampled.name(row), str(sampled.labels[row]), number])
    many = f"{len(dots):,} of {len(sampled.labels):,}, from all labels in turn" if len(dots) < len(sampled.labels) else "all"
    colours = "" if drawn["few"] else " Colours follow the alphabet."
    if classes:
        colours = f" Colours are classes: {', '.join(drawn['classes'])}." if drawn["few"] else " Colours are classes."
    return {
        **drawn,
        "lead": f"A dot is a photograph ({many}). Click one, or a label, to see the label alone; point at one to see "
        f"it.{colours}",
        "alt": f"Scatter plot of {len(dots):,} photographs of {len(drawn['groups']):,} labels; the table of statistics "
        "by label says the same in numbers",
        "data": {"photographs": photographs, "pictures": list(numbers)},
    }


def _classes(labels: Any, document: dict[str, Any] | None) -> dict[str, str] | None:
    """The class of each label, where the two are not the same."""
    if document is None or document["class_regex"] is None:
        return None
    matches = {label: re.search(document["class_regex"], label) for label in set(labels.tolist())}
    return {label: match[0] if match else "no class" for label, match in matches.items()}


def _statistics(report: Report, by_label: list[Statistics], stated: str) -> dict[str, Any]:
    rejected = Counter([] if report.rejected is None else map(_labelled, report.rejected["label"].to_pylist()))
    rows = [
        {
            "name": label.name,
            "count": label.count,
            "rejected": rejected[label.name],
            "spread": label.spread,
            "nearest": label.nearest,
            "apart": label.apart,
        }
        for label in sorted(by_label, key=lambda label: natural(label.name))
    ]
    close = min((row for row in rows if row["apart"] is not None), key=lambda row: row["apart"], default=None)
    lead = f"The closest pair, for its width: {close['name']} and {close['nearest']}. " if close else ""
    return {
        "lead": f"{lead}Spread is how far a label's photographs lie from its middle; below about 2 spreads to the nearest "
        f"label, the two overlap. {stated}",
        "rows": rows[:MAX_LISTED],
        "unlisted": max(0, len(rows) - MAX_LISTED),
    }


def _classifier(document: dict[str, Any] | None) -> dict[str, Any] | None:
    if document is None:
        return None
    best, scores = document["scores"][0], document["scores"]
    lead = (
        f"Of {best['n_test']:,} photographs that were held out, {best['accuracy']:.1%} are given the right one of "
        f"{document['n_classes']:,} classes; always saying the largest class would get {best['majority']:.1%} right, "
        f"the nearest centroid {best['nearest_centroid']:.1%}."
    )
    naive = next((score for score in scores[1:] if score["split"] == "random"), None)
    if naive:
        lead += f" A random split would have said {naive['accuracy']:.1%}: do not believe that one."
    matrix = document["confusion_matrix"]
    names = document["classes"]
    return {
        "lead": lead,
        "optimistic": document["optimistic"]
        and "Photographs of one tree, one day or one series look alike and stand on both sides, so that new photographs "
        "will be told apart less well than this. Say with --group-regex what belongs together, or keep folders "
        "Training and Test.",
        "scores": [{**score, "says": score["says"][:1].upper() + score["says"][1:]} for score in scores],
        "how": _made(document),
        "names": names,
        "matrix": matrix
        and len(names) <= MAX_NUMBERED
        and [_shaded(name, row) for name, row in zip(names, matrix, strict=True)],
        "shades": matrix and len(names) > MAX_NUMBERED and charts.matrix(names, matrix),
        "confusions": document["confusions"][:MAX_CONFUSIONS],
        "by_class": document["by_class"][:MAX_LISTED],
        "reliability": document["calibration"] and charts.reliability(document["calibration"]),
        "uncalibrated": f"{best['n_test']:,} photographs held out are too few to say how far its probabilities can be "
        "believed.",
    }


def _unclassified(manifest: dict[str, Any]) -> str:
    why = (manifest.get("classifier") or {}).get("why")
    if why:
        return f"There is no classifier: {why}."
    wanted = manifest["config"].get("classifier", False)
    return "The classifier failed; the warnings say why." if wanted else "No classifier was asked for (--no-classifier)."


def _made(document: dict[str, Any]) -> str:
    """How the classifier came about, in sentences."""
    what = "the whole label" if document["class_regex"] is None else f"what {document['class_regex']} finds in the label"
    together = "nothing was said" if document["group_regex"] is None else f"what {document['group_regex']} finds in the path"
    left = sum(document["left_out"].values())
    said = f"Logistic regression on the components; scaler, PCA and classifier are fitted inside each training part. A "
    said += f"class is {what}; of what belongs together, {together}. The model that is kept is fitted on "
    said += f"{document['n_photographs']:,} photographs."
    return said + (f" {left:,} have no class, or are alone in theirs, and are left out." if left else "")


def _shaded(name: str, row: list[int]) -> dict[str, Any]:
    total = sum(row) or 1
    cells = [{"count": count, "share": round(count / total, 3)} for count in row]
    return {"name": name, "cells": cells}


def _audit(report: Report, source: str, photo: Photo) -> dict[str, Any] | None:
    summary = report.manifest.get("audit")
    if not summary or "counts" not in summary:
        return None
    found = counts(report.manifest)
    total = sum(count for kind, count in found.items() if kind in KINDS and KINDS[kind].act)
    weak = summary.get("suspected_mislabels", {}).get("weak")
    compared = summary["near_duplicates"]["photographs_compared"]
    return {
        "lead": (f"{total:,} findings to act on. " if total else "Nothing to act on was found. ")
        + f"Looked at: {summary['sample']}; {compared:,} compared with one another"
        + ("; suspected mislabels are weak evidence, the classifier errs too often." if weak else "."),
        "rows": [
            {"title": kind.title, "count": found.get(name, 0), "todo": kind.todo if found.get(name) else "–", "act": kind.act}
            for name, kind in KINDS.items()
        ],
        "kinds": [
            _of_kind(kind.title, found[name], [_finding(row, source, photo) for row in rows])
            for name, kind in KINDS.items()
            if (rows := _gravest(report, name))
        ],
        "where": f"runs/{report.manifest['run_id']}/audit/",
    }


def _of_kind(title: str, count: int, shown: list[dict[str, Any]]) -> dict[str, Any]:
    photographs = [it for row in shown for it in (row["one"], row["other"]) if it]
    return {"title": title, "count": count, "shown": shown, "pictured": any(it["picture"] for it in photographs)}


def _gravest(report: Report, kind: str) -> list[dict[str, Any]]:
    """The first findings of a kind: the table has the gravest first."""
    if report.audit is None:
        return []
    rows = report.audit.filter(pc.equal(report.audit["kind"], kind))
    return list(rows.slice(0, MAX_FINDINGS).to_pylist())


def _finding(row: dict[str, Any], source: str, photo: Photo) -> dict[str, Any]:
    one, other = row["path"], row["other_path"]
    return {
        "label": row["label"] or NO_LABEL,
        "one": photo(one) if one else None,
        "other": photo(other) if other else None,
        "message": row["message"].replace(source + "/", ""),
    }


def _labels(manifest: dict[str, Any]) -> dict[str, Any]:
    counts = {name or NO_LABEL: count for name, count in manifest["labels"].items()}
    if not counts:
        return {"rows": [], "why": "No folder names a label: the photographs lie at the root of the input."}
    few = thin(manifest)
    highest = max(counts.values())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], natural(item[0])))
    rows = [
        {"name": name, "width": round(100 * count / highest, 1), "text": f"{count:,}", "thin": count < few}
        for name, count in ranked
    ]
    thinnest = sum(count < few for count in counts.values())
    lead = f"{len(counts):,} label{'s' if len(counts) > 1 else ''}"
    if ranked[0][1] == ranked[-1][1]:
        lead += f" of {highest:,} photograph{'s' if highest > 1 else ''}{' each' if len(counts) > 1 else ''}."
    else:
        lead += f", from {ranked[-1][1]:,} to {highest:,} photographs."
    if thinnest:
        lead += f" {thinnest:,} {'is' if thinnest == 1 else 'are'} thin: fewer than {few} photographs, marked."
    first = rows if len(rows) <= MAX_LABELS else [*rows[: MAX_LABELS // 2], *rows[-MAX_LABELS // 2 :]]
    if len(rows) > MAX_LABELS:
        lead += f" Shown are the {MAX_LABELS // 2} largest and the {MAX_LABELS // 2} smallest."
    rest = rows[MAX_LABELS // 2 : -MAX_LABELS // 2] if len(rows) > MAX_LABELS else []
    return {"rows": first, "rest": rest[:MAX_LISTED], "unlisted": max(0, len(rest) - MAX_LISTED), "lead": lead}


def thin(manifest: dict[str, Any]) -> int:
    """Photographs below which a label is thin, as the audit has it."""
    audit = manifest.get("audit") or {}
    return int(audit.get("thin_labels", {}).get("photographs_below", THIN))


def _scree(report: Report) -> dict[str, Any]:
    pca = report.manifest["pca"]
    shares = report.shares or pca["explained_variance_ratio"]
    drawn = charts.scree(shares, pca["n_components"])
    wanted = pca["requested"]
    asked = (
        f"the least number that keeps {wanted['variance']:.0%}"
        if "variance" in wanted
        else f"{wanted.get('components', pca['n_components']):,} were asked for"
    )
    lead = (
        f"{pca['n_components']:,} component{'s' if pca['n_components'] != 1 else ''} keep "
        f"{kept(pca):.1%} of the variance of {report.manifest['features']['dimension']:,} features: {asked}."
    )
    if "kept" in pca:
        lead += f" They were fitted by run {pca['fitted_by']}; of these photographs' variance they keep "
        lead += f"{pca['kept']['share']:.1%}."
    return {**drawn, "lead": lead}


def _rejects(report: Report, source: str) -> dict[str, Any]:
    manifest = report.manifest
    reasons = sorted(manifest["rejected_by_reason"].items(), key=lambda item: -item[1])
    if not reasons:
        return {"reasons": []}
    highest, total, listed = reasons[0][1], manifest["photographs"]["rejected"], manifest["photographs"]["listed"]
    rows = [] if report.rejected is None else report.rejected.to_pylist()
    return {
        "lead": f"{total:,} of {listed:,} photographs ({total / listed:.1%}) are not in the table; "
        f"the run fails above {manifest['config']['max_rejected_ratio']:.0%}.",
        "reasons": [
            {"name": _words(name), "width": round(100 * count / highest, 1), "text": f"{count:,}", "thin": False}
            for name, count in reasons
        ],
        "rows": [
            {"name": below(row["path"], source), "reason": _words(row["reason"]), "message": row["message"]}
            for row in rows[:MAX_REJECTS]
        ],
        "unlisted": max(0, total - min(len(rows), MAX_REJECTS)),
        "where": f"runs/{manifest['run_id']}/rejected/",
    }


def _since(report: Report) -> dict[str, Any] | None:
    change = report.since
    if change is None:
        return None
    old, new = change.manifest, report.manifest
    added, gone = f"{change.new:,} new", f"{change.gone:,} gone"
    notes = []
    if change.changed:
        notes.append(f"{change.changed:,} photographs have the same path and another version.")
    if change.angles is None:
        notes.append("The spaces cannot be compared: the features are of another network or scaling.")
    elif len(change.angles):
        overlap = float(np.mean(np.cos(np.radians(change.angles)) ** 2))
        notes.append(
            f"Angle between the two spaces: {change.angles[-1]:.1f}° at most, {np.median(change.angles):.1f}° in the "
            f"middle; they share {overlap:.1%} of their directions. 0° is the same space, 90° a direction that the "
            "other lacks."
        )
    labels = sorted(set(new["labels"]) ^ set(old["labels"]))
    if labels:
        notes.append(f"{len(labels):,} labels are in one of the two alone: {', '.join(labels[:12])}"
                     f"{' ...' if len(labels) > 12 else ''}.")
    return {
        "lead": f"Run {old['run_id']}. In the table since: {added}, {gone}.",
        "rows": [
            {"name": name, "before": of(old), "now": of(new)}
            for name, of in (
                ("Photographs in the table", lambda it: f"{it['photographs']['projected']:,}"),
                ("Labels", lambda it: f"{len(it['labels']):,}"),
                ("Rejected", lambda it: f"{it['photographs']['rejected']:,}"),
                ("Components, k", lambda it: f"{it['pca']['n_components']:,}"),
                ("Variance kept", lambda it: f"{kept(it['pca']):.1%}"),
                ("Time", lambda it: duration(seconds(it))),
                ("Cost", lambda it: euros(it["cost"]["eur"])),
            )
        ],
        "notes": notes,
    }


def _time(manifest: dict[str, Any]) -> dict[str, Any]:
    timings = manifest["timings_s"]
    whole, longest = seconds(manifest), max(timings.values(), default=1.0) or 1.0
    rows = [
        {
            "name": _STAGES.get(stage, _words(stage)),
            "width": round(100 * spent / longest, 1),
            "text": f"{duration(spent)} · {spent / whole:.0%}" if whole > 0 else duration(spent),
            "thin": False,
        }
        for stage, spent in timings.items()
    ]
    speed = manifest["throughput"]["photographs_per_s"]
    lead = f"{duration(whole)} from start to end"
    if manifest["photographs"]["computed"]:
        per_core = manifest["throughput"]["photographs_per_s_per_core"]
        lead += f"; features at {speed:,.1f} photographs a second, {per_core:,.1f} a core"
    return {"lead": f"{lead}. Stages in their order.", "rows": rows}


def _residence(manifest: dict[str, Any]) -> str:
    return {
        "local": "Input and output are on this machine: no bucket was asked.",
        "eu": "Every bucket that the run touched stands in the European Union.",
        "eu by opt-in": "Some of it stands outside the European Union or on other nodes, as it was allowed by name.",
    }.get(manifest["residency"]["verdict"], manifest["residency"]["verdict"])


def command(manifest: dict[str, Any]) -> str:
    """The command that repeats a run: what differs from the defaults."""
    words = ["verger run"]
    if "kept" in manifest["pca"] and manifest["config"].get("pca") != "reuse":
        output = manifest["output"]["uri"].rstrip("/")
        words = [f"verger project --run {shlex.quote(output + '/runs/' + manifest['pca']['fitted_by'])}"]
    for name, value in manifest["config"].items():
        known = RunConfig.model_fields.get(name)
        if known is None or (not known.is_required() and value == _as_json(known.default)):
            continue
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, list):
            words += [f"{flag} {shlex.quote(str(item))}" for item in value]
        elif value is not None:
            words.append(f"{flag} {shlex.quote(str(value))}")
    return " \\\n    ".join(words)


def _as_json(default: Any) -> Any:
    return list(default) if isinstance(default, tuple) else default


def _plainly(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return "–" if value in (None, "") else str(value)


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def short(path: str) -> str:
    """The last part of a path."""
    return PurePosixPath(path).name
