"""Sections of the page on labels, components, rejects, the run before, time, residency and configuration."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np
from pydantic.fields import FieldInfo

from verger.config import RunConfig
from verger.insight.names import NO_LABEL, isolate, natural_key, relative_path, shorten, shorten_uniquely
from verger.insight.report import svg_charts
from verger.insight.report.content import Report
from verger.insight.report.manifest_values import (
    duration,
    is_pca_reused,
    thin_label_limit,
    variance_kept,
    variance_kept_of_run,
)
from verger.photographs.suffixes import describe_ignored
from verger.tables.manifest import Manifest
from verger.tables.manifest_parts import Classifier
from verger.units import eur_text, seconds_text

MAX_LABELS = 60
"""Labels that are shown at once; of more, the largest and the smallest, and the rest on demand."""
NAME_COLUMNS = 60
"""Columns of text of a name, so that the page stays small whatever photographs are called."""
MAX_ROWS = 1_000
"""Of a table."""
MAX_REJECTS = 100
MAX_LABELS_NAMED = 12
NOTHING = "-"

_STAGES = {
    "preflight": "Asking the stores",
    "list": "Listing photographs",
    "compare": "Comparing with the run before",
    "subtract": "Looking up stored features",  # of older runs
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
    """Photographs in the table by label, the largest label first.

    Parameters
    ----------
    report : Report
        What is drawn.
    """
    if not any(report.labels_in_table):
        return {"rows": [], "why": "No folder names a label: the photographs lie at the root of the input."}
    counts = {name or NO_LABEL: count for name, count in report.labels_in_table.items()}
    limit, highest = thin_label_limit(report.manifest), max(counts.values())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], natural_key(item[0])))
    short = shorten_uniquely(counts, NAME_COLUMNS)
    rows = [_bar(short[name], count, highest, f"{count:,}", thin=count < limit) for name, count in ranked]
    lead = f"{len(counts):,} label{'s' if len(counts) > 1 else ''}"
    if ranked[-1][1] == highest:
        lead += f" of {highest:,} photograph{'s' if highest > 1 else ''}{' each' if len(counts) > 1 else ''}."
    else:
        lead += f", from {ranked[-1][1]:,} to {highest:,} photographs."
    if all_rejected := len(set(filter(None, report.manifest.labels)) - set(report.labels_in_table)):
        lead += f" Of {all_rejected:,} more label{'s' if all_rejected > 1 else ''}, every photograph was rejected."
    if thin := sum(count < limit for count in counts.values()):
        lead += f" {thin:,} {'is' if thin == 1 else 'are'} thin: fewer than {limit} photographs, marked."
    shown, rest = rows, []
    if len(rows) > MAX_LABELS:
        half = MAX_LABELS // 2
        lead += f" Shown are the {half} largest and the {half} smallest."
        shown, rest = [*rows[:half], *rows[-half:]], rows[half:-half]
    return {"rows": shown, "rest": rest[:MAX_ROWS], "unlisted": max(0, len(rest) - MAX_ROWS), "lead": lead}


def scree(report: Report) -> dict[str, Any]:
    """How much of the variance the components keep.

    Parameters
    ----------
    report : Report
        What is drawn.
    """
    manifest, pca = report.manifest, report.manifest.pca
    requested, k = pca.requested, pca.n_components
    if "variance" in requested:
        why = f"the least number that keeps {100 * requested['variance']:g}%"
    else:
        why = f"{requested.get('components', k):,} were asked for"
    title = f"{k:,} component{'s keep' if k != 1 else ' keeps'} {variance_kept(pca):.1%} of the variance"
    lead = f"{title} of {manifest.features.dimension:,} features: {why}."
    if is_pca_reused(manifest):
        share = variance_kept_of_run(manifest)
        lead += f" That is of run {pca.fitted_by}, which fitted them; how much they keep of these photographs' "
        lead += "variance was not measured." if share is None else f"variance was measured too: {share:.1%}."
        if share is None and pca.kept is not None:
            lead += f" They keep {pca.kept.share:.1%} of that of {pca.kept.n_photographs:,} new ones."
    if pca.retention:
        kept = pca.retention
        lead += f" The space of run {kept.space} keeps {kept.kept_share:.1%}, and a fit with as many components "
        lead += f"would keep {kept.refit_share:.1%}; below {kept.least_share:.1%} the components are fitted anew."
    return {
        **svg_charts.scree(report.variance_ratios or pca.explained_variance_ratio, k),
        "title": title,
        "lead": lead,
        "whose": ", of the photographs of the run that fitted them" if is_pca_reused(manifest) else "",
    }


def rejects(report: Report, source: str) -> dict[str, Any]:
    """Rejected photographs by reason, and the first of them.

    Parameters
    ----------
    report : Report
        What is drawn.
    source : str
        Canonical URI of the input, without a slash at the end.
    """
    manifest = report.manifest
    reasons = sorted(manifest.rejected_by_reason.items(), key=lambda item: -item[1])
    ignored = describe_ignored(manifest.photographs.ignored)
    if not reasons:
        return {"reasons": [], "others": ignored}
    highest, total, listed = reasons[0][1], manifest.photographs.rejected, manifest.photographs.listed
    rows = [] if report.rejected is None else report.rejected.to_pylist()
    return {
        "lead": f"{total:,} of {listed:,} photographs ({total / listed:.1%}) are not in the table; "
        f"the run fails above {manifest.config['max_rejected_ratio']:.0%}.",
        "reasons": [_bar(_in_words(name), count, highest, f"{count:,}") for name, count in reasons],
        "rows": [
            {
                "name": relative_path(row["path"], source),
                "reason": _in_words(row["reason"]),
                "message": row["message"],
            }
            for row in rows[:MAX_REJECTS]
        ],
        "unlisted": max(0, total - min(len(rows), MAX_REJECTS)),
        "where": f"runs/{manifest.run_id}/rejected/",
        "others": ignored,
    }


def changes_since_previous_run(report: Report) -> dict[str, Any] | None:
    """What has changed since the run before; None where there is none.

    Parameters
    ----------
    report : Report
        What is drawn.
    """
    diff = report.diff
    if diff is None:
        return None
    old, new = diff.manifest, report.manifest
    notes = []
    if diff.changed:
        notes.append(f"Photographs of the same path and another version: {diff.changed:,}.")
    if diff.angles is None:
        notes.append("The spaces cannot be compared: the features are of another network or scaling.")
    elif len(diff.angles):
        overlap = float(np.mean(np.cos(np.radians(diff.angles)) ** 2))
        notes.append(
            f"Angle between the two spaces: {diff.angles[-1]:.1f}° at most, {np.median(diff.angles):.1f}° in the "
            f"middle; they share {overlap:.1%} of their directions. 0° is the same space, 90° a direction that the "
            "other lacks."
        )
    names = sorted(set(filter(None, new.labels)) ^ set(filter(None, old.labels)), key=natural_key)
    if names:
        some = ", ".join(isolate(shorten(name, NAME_COLUMNS)) for name in names[:MAX_LABELS_NAMED])
        notes.append(
            f"{len(names):,} label{'s are' if len(names) > 1 else ' is'} in one of the two alone: {some}"
            f"{' and others' if len(names) > MAX_LABELS_NAMED else ''}."
        )
    lead = f"Run {old.run_id}. In the table since: {diff.new:,} new, {diff.gone:,} gone."
    if not (diff.new or diff.gone or diff.changed):
        lead = f"No photograph has changed since run {old.run_id}."
        if new.pca.fitted_by == old.pca.fitted_by:
            lead = f"Nothing has changed since run {old.run_id}: table and components are the same."
    return {
        "lead": lead,
        "rows": [
            {"name": name, "before": before, "now": now}
            for (name, before), now in zip(_compared(old).items(), _compared(new).values(), strict=True)
        ],
        "notes": notes,
    }


def _compared(manifest: Manifest) -> dict[str, str]:
    """Values of a run that are compared with those of another."""
    share = variance_kept_of_run(manifest)
    return {
        "Photographs in the table": f"{manifest.photographs.projected:,}",
        "Labels listed": f"{len(list(filter(None, manifest.labels))):,}",
        "Rejected": f"{manifest.photographs.rejected:,}",
        "Components, k": f"{manifest.pca.n_components:,}",
        "Variance kept": NOTHING if share is None else f"{share:.1%}",
        "Accuracy": _accuracy(manifest),
        "Time": seconds_text(duration(manifest)),
        "Cost": eur_text(manifest.cost.eur),
    }


def _accuracy(manifest: Manifest) -> str:
    classifier = manifest.classifier
    return f"{classifier.accuracy:.1%} ({classifier.split} split)" if isinstance(classifier, Classifier) else NOTHING


def time(manifest: Manifest) -> dict[str, Any]:
    """Seconds of the stages, in their order.

    Parameters
    ----------
    manifest : Manifest
        The run's.
    """
    timings = manifest.timings_s
    total, longest = duration(manifest), max(timings.values(), default=1.0) or 1.0
    rows = []
    for stage, seconds in timings.items():
        text = f"{seconds_text(seconds)} · {seconds / total:.0%}" if total > 0 else seconds_text(seconds)
        rows.append(_bar(_STAGES.get(stage, _in_words(stage)), seconds, longest, text))
    lead = f"{seconds_text(total)} from start to end"
    if manifest.photographs.computed:
        speed = manifest.throughput.photographs_per_s
        per_core = manifest.throughput.photographs_per_s_per_core
        lead += f"; features at {speed:,.1f} photographs a second, {per_core:,.1f} a core"
    return {"lead": f"{lead}. Stages in their order.", "rows": rows}


def residency(manifest: Manifest) -> dict[str, Any]:
    """The verdict on residency as a sentence.

    Parameters
    ----------
    manifest : Manifest
        The run's.
    """
    verdict = manifest.residency.verdict
    sentences = {
        "local": "Input and output are on this machine: no bucket was asked.",
        "eu": "Every bucket that the run touched is in the European Union.",
        "eu by opt-in": "Some of it is outside the European Union or on other nodes, which the opt-ins allow.",
    }
    return {"lead": sentences.get(verdict, verdict)}


def command(manifest: Manifest) -> str:
    """The command that repeats a run, with the options that differ from their defaults.

    Parameters
    ----------
    manifest : Manifest
        The run's.

    Returns
    -------
    str
        Quoted for a POSIX shell, an option a line.
    """
    words, without_groups = ["verger run"], set[str]()
    pca = manifest.pca
    # A run of `verger project` in which photographs were only removed has measured nothing.
    others = pca.fitted_by != manifest.run_id and pca.n_photographs != manifest.projection.rows
    if manifest.config.get("pca", "fit") == "fit" and (pca.kept is not None or others):
        fitted_in = pca.fitted_in or f"{manifest.output.uri.rstrip('/')}/runs/{pca.fitted_by}"
        words, without_groups = [f"verger project --run {shlex.quote(fitted_in)}"], {"Network", "Components"}
    for name, value in manifest.config.items():
        known = RunConfig.model_fields.get(name)
        if known is None or _group(known) in without_groups:
            continue
        if not known.is_required() and value == _as_json(known.default):
            continue
        option = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append(option if value else f"--no-{option[2:]}")
        elif isinstance(value, list):
            words += [f"{option} {shlex.quote(str(item))}" for item in value]
        elif value is not None:
            words.append(f"{option} {shlex.quote(str(value))}")
    return " \\\n    ".join(words)


def _group(field: FieldInfo) -> str:
    assert isinstance(field.json_schema_extra, dict)
    return str(field.json_schema_extra["group"])


def _as_json(default: Any) -> Any:
    return list(default) if isinstance(default, tuple) else default


def settings(manifest: Manifest) -> list[tuple[str, str]]:
    """Every setting of a run, and its value as people write it.

    Parameters
    ----------
    manifest : Manifest
        The run's.
    """
    return [(name.replace("_", "-"), _value_text(value)) for name, value in manifest.config.items()]


def _value_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return NOTHING if value in (None, "") else str(value)


def _bar(name: str, value: float, highest: float, text: str, thin: bool = False) -> dict[str, Any]:
    """A row of a bar chart; the highest bar has a width of 100."""
    return {"name": name, "width": round(100 * value / highest, 1), "text": text, "thin": thin}


def _in_words(name: str) -> str:
    return name.replace("_", " ").capitalize()
