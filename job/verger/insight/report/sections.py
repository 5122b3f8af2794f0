"""The page's sections that need no photograph, as rows and sentences, bounded in number."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np
from pydantic.fields import FieldInfo

from verger.config import RunConfig
from verger.insight.evidence import none_of_these, weakness
from verger.insight.names import NO_LABEL, below, cut, isolated, natural, told_apart
from verger.insight.report import svg_charts
from verger.insight.report.content import Report
from verger.insight.report.verdict import duration, euros, keeps, kept, reused, seconds
from verger.photographs.inventory import others

MAX_LABELS = 60
NAMED = 60
"""Columns of text in a name, so that the page stays small whatever photographs are called."""
MAX_LISTED = 1_000
MAX_REJECTS = 100
MAX_NUMBERED = 20
"""Classes up to which the confusion matrix has numbers."""
MAX_CONFUSIONS = 10
THIN = 10

OPTIMISTIC = (
    "Photographs of one tree, one day or one series look alike and stand on both sides, so that new photographs "
    "will be told apart less well than this. Say with --group-regex what belongs together, or keep folders Training "
    "and Test."
)
NOTHING = "-"


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


def labels(report: Report) -> dict[str, Any]:
    """Photographs in the table by label, the largest first; of many the largest and the smallest, the rest folded."""
    counts = {name or NO_LABEL: count for name, count in report.in_table.items()}
    if not any(report.in_table):
        return {"rows": [], "why": "No folder names a label: the photographs lie at the root of the input."}
    few = thin(report.manifest)
    highest = max(counts.values())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], natural(item[0])))
    short = told_apart(counts, NAMED)
    rows = [
        {"name": short[name], "width": round(100 * count / highest, 1), "text": f"{count:,}", "thin": count < few}
        for name, count in ranked
    ]
    thinnest = sum(count < few for count in counts.values())
    lead = f"{len(counts):,} label{'s' if len(counts) > 1 else ''}"
    if ranked[0][1] == ranked[-1][1]:
        lead += f" of {highest:,} photograph{'s' if highest > 1 else ''}{' each' if len(counts) > 1 else ''}."
    else:
        lead += f", from {ranked[-1][1]:,} to {highest:,} photographs."
    without = len(set(filter(None, report.manifest["labels"])) - set(report.in_table))
    if without:
        lead += f" Of {without:,} more label{'s' if without > 1 else ''}, every photograph was rejected."
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


def scree(report: Report) -> dict[str, Any]:
    """How much the components keep."""
    pca = report.manifest["pca"]
    shares = report.shares or pca["explained_variance_ratio"]
    drawn = svg_charts.scree(shares, pca["n_components"])
    wanted = pca["requested"]
    asked = (
        f"the least number that keeps {100 * wanted['variance']:g}%"
        if "variance" in wanted
        else f"{wanted.get('components', pca['n_components']):,} were asked for"
    )
    lead = (
        f"{pca['n_components']:,} component{'s keep' if pca['n_components'] != 1 else ' keeps'} "
        f"{kept(pca):.1%} of the variance of {report.manifest['features']['dimension']:,} features: {asked}."
    )
    if reused(report.manifest):
        share = keeps(report.manifest)
        lead += f" That is of run {pca['fitted_by']}, which fitted them; how much they keep of these photographs' "
        lead += "variance was not measured." if share is None else f"variance was measured too: {share:.1%}."
    return {
        **drawn,
        "lead": lead,
        "whose": ", of the photographs of the run that fitted them" * reused(report.manifest),
    }


def rejects(report: Report, source: str) -> dict[str, Any]:
    """What was rejected: by reason, and the first photographs."""
    manifest = report.manifest
    reasons = sorted(manifest["rejected_by_reason"].items(), key=lambda item: -item[1])
    ignored = others(manifest["photographs"].get("ignored") or {})
    if not reasons:
        return {"reasons": [], "others": ignored}
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
        "others": ignored,
    }


def classifier(report: Report) -> dict[str, Any] | None:
    """How well the classifier does, by every split, and where it errs."""
    if report.classifier is None:
        return None
    # What is known only after the audit is in the manifest alone.
    summary = report.manifest.get("classifier") or {}
    document = report.classifier | {key: summary[key] for key in ("weak", "weak_because", "note") if key in summary}
    best, scores = document["scores"][0], document["scores"]
    matrix = document["confusion_matrix"]
    names = list(told_apart(document["classes"], NAMED).values())
    because = weakness({"n_test": best["n_test"], **document})
    return {
        "lead": _how_well(document),
        "note": _sentence(document.get("note")),
        "weak": _sentence(because),
        "optimistic": document["optimistic"] and OPTIMISTIC,
        "scores": [{**score, "says": score["says"][:1].upper() + score["says"][1:]} for score in scores],
        "how": _made(document),
        "none_of_these": none_of_these(document.get("none_of_these")),
        "names": names,
        "matrix": matrix
        and len(names) <= MAX_NUMBERED
        and [_shaded(name, row) for name, row in zip(names, matrix, strict=True)],
        "shades": matrix and len(names) > MAX_NUMBERED and svg_charts.matrix(names, matrix),
        "confusions": [
            row | {key: cut(row[key], NAMED) for key in ("class", "taken_for")}
            for row in document["confusions"][:MAX_CONFUSIONS]
        ],
        "by_class": [row | {"class": cut(row["class"], NAMED)} for row in document["by_class"][:MAX_LISTED]],
        "reliability": document["calibration"] and svg_charts.reliability(document["calibration"]),
        "uncalibrated": f"{best['n_test']:,} photographs held out are too few to say how far its probabilities can be "
        "believed.",
    }


def _how_well(document: dict[str, Any]) -> str:
    """The most honest score in sentences, what it leaves out, and the naive one where it flatters."""
    best, classes = document["scores"][0], document["n_classes"]
    lead = (
        f"Of {best['n_test']:,} photographs that were held out, {best['accuracy']:.1%} are given the right one of "
        f"{classes:,} classes; always saying the largest class would get {best['majority']:.1%} right, "
        f"the nearest centroid {best['nearest_centroid']:.1%}."
    )
    if best["nearest_centroid"] > best["accuracy"]:
        lead += " That one, which is simpler, does better."
    if unjudged := best.get("unjudged", 0):
        lead += f" {unjudged:,} more are not judged, as nothing that was trained on is of their class"
        judged = best.get("n_classes_judged")
        lead += "." if judged is None else f": {judged:,} of {classes:,} classes are judged."
    naive = next((score for score in document["scores"][1:] if score["split"] == "random"), None)
    if naive and naive["accuracy"] > best["accuracy"]:
        lead += f" A random split would have said {naive['accuracy']:.1%}: do not believe that one."
    return lead


def _sentence(text: str | None) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def unclassified(manifest: dict[str, Any]) -> str:
    """Why there is no classifier."""
    why, pattern = (manifest.get("classifier") or {}).get("absent"), manifest["config"].get("class_regex")
    if why:
        return f"There is no classifier: {why}{f' (--class-regex {pattern})' if pattern else ''}."
    wanted = manifest["config"].get("classifier")
    if wanted is None:
        return "The run was made by a version that had no classifier."
    return "There is none; the warnings say why." if wanted else "No classifier was asked for (--no-classifier)."


def _made(document: dict[str, Any]) -> str:
    """How the classifier came about, in sentences."""
    pattern, group = document["class_regex"], document["group_regex"]
    what = "the whole label" if pattern is None else f"what {pattern} finds in the label"
    together = "nothing was said" if group is None else f"what {group} finds in the path"
    if group is not None and document.get("n_groups", 1) is None:
        together = f"{group} says nothing: the warnings tell why"
    left = sum(document["left_out"].values())
    said = (
        "Logistic regression on the components; scaler, PCA and classifier are fitted inside each training part. A "
        f"class is {what}; of what belongs together, {together}. The model that is kept is fitted on "
        f"{document['n_photographs']:,} photographs."
    )
    return said + (f" {left:,} have no class, or are alone in theirs, and are left out." if left else "")


def _shaded(name: str, row: list[int]) -> dict[str, Any]:
    total = sum(row) or 1
    cells = [{"count": count, "share": round(count / total, 3)} for count in row]
    return {"name": name, "cells": cells}


def since(report: Report) -> dict[str, Any] | None:
    """What changed since the run before."""
    change = report.since
    if change is None:
        return None
    old, new = change.manifest, report.manifest
    added, gone = f"{change.new:,} new", f"{change.gone:,} gone"
    notes = []
    if change.changed:
        notes.append(f"Photographs of the same path and another version: {change.changed:,}.")
    if change.angles is None:
        notes.append("The spaces cannot be compared: the features are of another network or scaling.")
    elif len(change.angles):
        overlap = float(np.mean(np.cos(np.radians(change.angles)) ** 2))
        notes.append(
            f"Angle between the two spaces: {change.angles[-1]:.1f}° at most, {np.median(change.angles):.1f}° in the "
            f"middle; they share {overlap:.1%} of their directions. 0° is the same space, 90° a direction that the "
            "other lacks."
        )
    labels = sorted(set(filter(None, new["labels"])) ^ set(filter(None, old["labels"])), key=natural)
    if labels:
        notes.append(
            f"{len(labels):,} label{'s are' if len(labels) > 1 else ' is'} in one of the two alone: "
            f"{', '.join(isolated(cut(name, NAMED)) for name in labels[:12])}"
            f"{' and others' if len(labels) > 12 else ''}."
        )
    return {
        "lead": f"Run {old['run_id']}. In the table since: {added}, {gone}.",
        "rows": [
            {"name": name, "before": before, "now": now}
            for (name, before), now in zip(_compared(old).items(), _compared(new).values(), strict=True)
        ],
        "notes": notes,
    }


def _compared(manifest: dict[str, Any]) -> dict[str, str]:
    """The figures of a run that are held against those of another."""
    return {
        "Photographs in the table": f"{manifest['photographs']['projected']:,}",
        "Labels listed": f"{len(list(filter(None, manifest['labels']))):,}",
        "Rejected": f"{manifest['photographs']['rejected']:,}",
        "Components, k": f"{manifest['pca']['n_components']:,}",
        "Variance kept": NOTHING if (share := keeps(manifest)) is None else f"{share:.1%}",
        "Accuracy": accuracy(manifest),
        "Time": duration(seconds(manifest)),
        "Cost": euros(manifest["cost"]["eur"]),
    }


def accuracy(manifest: dict[str, Any]) -> str:
    """The classifier's, and on which kind of split."""
    summary = manifest.get("classifier") or {}
    return f"{summary['accuracy']:.1%} ({summary['split']} split)" if "accuracy" in summary else NOTHING


def time(manifest: dict[str, Any]) -> dict[str, Any]:
    """Seconds by stage, in their order."""
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


def residence(manifest: dict[str, Any]) -> str:
    """The verdict on residency as a sentence."""
    verdict = str(manifest["residency"]["verdict"])
    return {
        "local": "Input and output are on this machine: no bucket was asked.",
        "eu": "Every bucket that the run touched stands in the European Union.",
        "eu by opt-in": "Some of it stands outside the European Union or on other nodes, as it was allowed by name.",
    }.get(verdict, verdict)


def command(manifest: dict[str, Any]) -> str:
    """The command that repeats a run: what differs from the defaults."""
    words, unknown = ["verger run"], set[str]()
    pca = manifest["pca"]
    if "kept" in pca and manifest["config"].get("pca") != "reuse":
        fitted_in = pca.get("fitted_in") or f"{manifest['output']['uri'].rstrip('/')}/runs/{pca['fitted_by']}"
        words, unknown = [f"verger project --run {shlex.quote(fitted_in)}"], {"Network", "Components"}
    for name, value in manifest["config"].items():
        known = RunConfig.model_fields.get(name)
        if known is None or _group(known) in unknown or (not known.is_required() and value == _as_json(known.default)):
            continue
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, list):
            words += [f"{flag} {shlex.quote(str(item))}" for item in value]
        elif value is not None:
            words.append(f"{flag} {shlex.quote(str(value))}")
    return " \\\n    ".join(words)


def _group(field: FieldInfo) -> str:
    assert isinstance(field.json_schema_extra, dict)
    return str(field.json_schema_extra["group"])


def _as_json(default: Any) -> Any:
    return list(default) if isinstance(default, tuple) else default


def plainly(value: Any) -> str:
    """A setting as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return NOTHING if value in (None, "") else str(value)


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()
