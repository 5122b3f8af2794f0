"""What a finished run says last."""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import Any

from verger import log
from verger.photographs.inventory import others
from verger.progress import Progress


def say(progress: Progress, manifest: dict[str, Any]) -> None:
    """End a run with its figures: lines for people, and one that a script can parse."""
    for line in lines(manifest) + ([] if log.structured() else next_lines(manifest)):
        progress.say(line)
    counts = {name: count for name, count in manifest["photographs"].items() if name != "ignored"}
    progress.finish(
        run_id=manifest["run_id"],
        **counts,
        n_components=manifest["pca"]["n_components"],
        seconds=round(_seconds(manifest), 1),
        photographs_per_s=manifest["throughput"]["photographs_per_s"],
        table=_below(manifest, manifest["projection"]["path"]),
        **_looked(manifest),
        **({"report": _below(manifest, manifest["report"]["path"])} if "report" in manifest else {}),
    )


def lines(manifest: dict[str, Any]) -> list[str]:
    """What a finished run tells a person: what came out, where, and how long it took."""
    counts, pca = manifest["photographs"], manifest["pca"]
    why = sorted(manifest["rejected_by_reason"].items())
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in why if count)
    speed = manifest["throughput"]["photographs_per_s"] if counts["computed"] else None
    return [
        f"{counts['projected']:,} of {counts['listed']:,} photographs are in the table: "
        f"{counts['computed']:,} computed now, {counts['known']:,} known before, "
        f"{counts['rejected']:,} rejected{f' ({reasons})' if reasons else ''}.",
        *([f"Not read: {others(counts['ignored'])}."] if counts["ignored"] else []),
        _kept(pca, manifest["run_id"]),
        f"Table: {_below(manifest, manifest['projection']['path'])}",
        *_found(manifest),
        f"Time: {_seconds(manifest):.1f} s" + (f", features at {speed:,.1f} photographs/s." if speed else "."),
        *([f"Report: {_below(manifest, manifest['report']['path'])}"] if "report" in manifest else []),
    ]


def next_lines(manifest: dict[str, Any]) -> list[str]:
    """What to try next, for somebody at a terminal."""
    output = manifest["output"]["uri"].rstrip("/")
    named = f"      verger identify --run {shlex.quote(output)} PHOTO names what is on a photograph;"
    return [
        "Next: the same command again computes only what is new; --input FOLDER takes your own photographs;",
        *([named] if "accuracy" in manifest.get("classifier", {}) else []),
        f"      in Python: import verger; verger.load({output!r})",
    ]


def _looked(manifest: dict[str, Any]) -> dict[str, Any]:
    """Headlines of classifier and audit, where there were any."""
    classifier, audit = manifest.get("classifier", {}), manifest.get("audit", {})
    said: dict[str, Any] = {name: classifier[name] for name in ("accuracy", "split") if name in classifier}
    if classifier.get("weak") is not None and said:
        said["weak"] = classifier["weak"]
    return said | {"audit": {kind: count["found"] for kind, count in audit["counts"].items()}} if audit else said


def _found(manifest: dict[str, Any]) -> list[str]:
    """The same for a person."""
    said = []
    classifier, audit = manifest.get("classifier", {}), manifest.get("audit", {})
    if "absent" in classifier:
        said.append(f"Classifier: none, as {classifier['absent']}.")
    if "accuracy" in classifier:
        majority = classifier["baselines"]["majority"]
        said.append(
            f"Classifier: {classifier['accuracy']:.1%} of {classifier['n_test']:,} unseen photographs are named "
            f"rightly (always the most frequent class: {majority:.1%}); {classifier['says']}."
            + (f" Weak evidence: {because}." if (because := classifier.get("weak_because")) else "")
        )
    found = [f"{n['found']:,} {kind.replace('_', ' ')}" for kind, n in audit.get("counts", {}).items() if n["found"]]
    found += [
        f"{kind.replace('_', ' ')} not looked for" for kind, n in audit.get("counts", {}).items() if n["found"] is None
    ]
    return said + ([f"Audit: {', '.join(found)}."] if found else [])


def _below(manifest: dict[str, Any], path: str) -> str:
    return f"{manifest['output']['uri'].rstrip('/')}/{path}"


def _kept(pca: dict[str, Any], run_id: str) -> str:
    share = sum(pca["explained_variance_ratio"][: pca["n_components"]])
    one = pca["n_components"] == 1
    components = "1 component" if one else f"{pca['n_components']:,} components"
    if pca["fitted_by"] == run_id:
        return f"{components} keep{'s' if one else ''} {share:.1%} of the variance."
    line = f"{components} of run {pca['fitted_by']} keep{'s' if one else ''} {share:.1%} of the variance there"
    return f"{line}, {pca['kept']['share']:.1%} here." if "kept" in pca else f"{line}."


def _seconds(manifest: dict[str, Any]) -> float:
    start, end = (datetime.fromisoformat(manifest[key]) for key in ("started_at", "finished_at"))
    return (end - start).total_seconds()
