"""What a finished run says last."""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import Any

from verger import log
from verger.insight.report.manifest_values import variance_kept_of_run
from verger.photographs.suffixes import describe_ignored
from verger.progress import Progress
from verger.tables.manifest import Manifest
from verger.tables.manifest_parts import Absent, AuditSummary, Classifier


def show(progress: Progress, manifest: Manifest) -> None:
    """End a run with its results: lines for people, and one that a script can parse.

    Parameters
    ----------
    progress : Progress
        Writes the lines, and last the one for scripts.
    manifest : Manifest
        Of the finished run; the numbers and places are taken from it.
    """
    for line in lines(manifest) + ([] if log.is_json() else next_lines(manifest)):
        progress.say(line)
    progress.finish(
        run_id=manifest.run_id,
        **{name: count for name, count in manifest.photographs.as_dict().items() if name != "ignored"},
        n_components=manifest.pca.n_components,
        seconds=round(_seconds(manifest), 1),
        photographs_per_s=manifest.throughput.photographs_per_s,
        table=_below(manifest, manifest.projection.path),
        **({"same_as": manifest.same_as} if manifest.same_as else {}),
        **_insight_numbers(manifest),
        **({"report": _below(manifest, manifest.report.path)} if manifest.report else {}),
    )


def lines(manifest: Manifest) -> list[str]:
    """What a finished run tells a person: what came out, where, and how long it took.

    Parameters
    ----------
    manifest : Manifest
        Of the finished run: its counts, components, findings, places and times.
    """
    counts = manifest.photographs
    why = sorted(manifest.rejected_by_reason.items())
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in why if count)
    speed = manifest.throughput.photographs_per_s if counts.computed else None
    return [
        f"{counts.projected:,} of {counts.listed:,} photographs are in the table: "
        f"{counts.computed:,} computed now, {counts.known:,} known before, "
        f"{counts.rejected:,} rejected{f' ({reasons})' if reasons else ''}.",
        *([f"Not read: {describe_ignored(counts.ignored)}."] if counts.ignored else []),
        *_nothing_changed(manifest),
        _variance_kept(manifest),
        f"Table: {_below(manifest, manifest.projection.path)}",
        *_classifier_lines(manifest.classifier),
        *_audit_lines(manifest.audit),
        f"Time: {_seconds(manifest):.1f} s" + (f", features at {speed:,.1f} photographs/s." if speed else "."),
        *([f"Report: {_below(manifest, manifest.report.path)}"] if manifest.report else []),
    ]


def next_lines(manifest: Manifest) -> list[str]:
    """What to try next, for somebody at a terminal.

    Parameters
    ----------
    manifest : Manifest
        Of the finished run: its output is named, and `verger identify` where it has a classifier.
    """
    output = manifest.output.uri.rstrip("/")
    named = f"      verger identify --run {shlex.quote(output)} PHOTO names what is on a photograph;"
    return [
        "Next: the same command again computes only what is new; --input FOLDER takes your own photographs;",
        *([named] if isinstance(manifest.classifier, Classifier) else []),
        f"      in Python: import verger; verger.load({output!r})",
    ]


def _insight_numbers(manifest: Manifest) -> dict[str, Any]:
    """Headlines of classifier and audit, where there are any, for scripts."""
    classifier, audit = manifest.classifier, manifest.audit
    numbers: dict[str, Any] = {}
    if isinstance(classifier, Classifier):
        numbers = {"accuracy": classifier.accuracy, "split": classifier.split}
        if classifier.weak is not None:
            numbers["weak"] = classifier.weak
    if audit:
        numbers["audit"] = {kind: count.found for kind, count in audit.counts.items()}
    return numbers


def _classifier_lines(classifier: Classifier | Absent | None) -> list[str]:
    if classifier is None:
        return []
    if isinstance(classifier, Absent):
        return [f"Classifier: none, as {classifier.absent}."]
    return [
        f"Classifier: {classifier.accuracy:.1%} of {classifier.n_test:,} unseen photographs are classified "
        f"correctly (always the most frequent class: {classifier.baselines.majority:.1%}); {classifier.says}."
        + (f" Weak evidence: {classifier.weak_because}." if classifier.weak_because else "")
    ]


def _audit_lines(audit: AuditSummary | None) -> list[str]:
    if audit is None:
        return []
    named = {kind.replace("_", " "): count.found for kind, count in audit.counts.items()}
    found = [f"{count:,} {kind}" for kind, count in named.items() if count]
    found += [f"{kind} not looked for" for kind, count in named.items() if count is None]
    return [f"Audit: {', '.join(found)}."] if found else []


def _below(manifest: Manifest, path: str) -> str:
    return f"{manifest.output.uri.rstrip('/')}/{path}"


def _nothing_changed(manifest: Manifest) -> list[str]:
    """That the results of an earlier run stand; nothing where the run made its own."""
    if not manifest.same_as:
        return []
    return [f"Nothing has changed since run {manifest.same_as}: its table, components and report stand."]


def _variance_kept(manifest: Manifest) -> str:
    pca = manifest.pca
    share = sum(pca.explained_variance_ratio[: pca.n_components])
    keep = "1 component{} keeps" if pca.n_components == 1 else f"{pca.n_components:,} components{{}} keep"
    if pca.fitted_by in (manifest.run_id, manifest.same_as):
        why = f" They were fitted anew: {pca.retention.reason}." if pca.retention and pca.retention.due else ""
        return f"{keep.format('')} {share:.1%} of the variance.{why}"
    line = f"{keep.format(f' of run {pca.fitted_by}')} {share:.1%} of the variance there"
    here = variance_kept_of_run(manifest)
    if here is not None:
        line += f", {here:.1%} here"
    elif pca.kept is not None:
        line += f", {pca.kept.share:.1%} of that of {pca.kept.n_photographs:,} new photographs"
    if pca.retention:
        refit, least = pca.retention.refit_share, pca.retention.least_share
        line += f"; a refit would keep {refit:.1%}, and is due below {least:.1%}"
    return f"{line}."


def _seconds(manifest: Manifest) -> float:
    start, end = map(datetime.fromisoformat, (manifest.started_at, manifest.finished_at))
    return (end - start).total_seconds()
