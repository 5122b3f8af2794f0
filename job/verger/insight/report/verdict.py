"""The page's first screen: whether the run worked, five figures, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from verger.insight.evidence import weakness
from verger.photographs.inventory import NOT_UTF8, UNREAD, by_suffix, others

MAX_WARNINGS = 3


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding of the audit: its name, what to do, and the same for one and for many photographs or labels.

    ``act`` is empty where there is nothing to do: the finding is there to be known.
    """

    title: str
    todo: str
    one: str = ""
    many: str = ""

    @property
    def act(self) -> bool:
        """Whether the first screen asks for something."""
        return bool(self.many)


# The gravest first.
KINDS = {
    "duplicate_other_label": Kind(
        "The same photograph under two labels",
        "Decide which label is right, and remove the other copy",
        "Decide on the label of a photograph that lies under two",
        "Decide on the labels of {} photographs that lie under two",
    ),
    "near_duplicate_across_splits": Kind(
        "Near-duplicates across {across}",
        "Move both to one side: a score on such a split flatters",
        "Move a photograph that has a near-duplicate across {across}: a score on it flatters",
        "Move {} photographs that have a near-duplicate across {across}: a score on them flatters",
    ),
    "suspected_mislabel": Kind(
        "Suspected mislabels",
        "Look at each, and move it to the folder of its fruit",
        "Look at a photograph whose label may be wrong",
        "Look at {} photographs whose label may be wrong",
    ),
    "duplicate": Kind(
        "Exact duplicates",
        "Remove the copies",
        "Remove a copy of a photograph",
        "Remove {} copies of photographs",
    ),
    "thin_label": Kind(
        "Thin labels",
        "Take more photographs of these",
        "Take more photographs of a thin label",
        "Take more photographs of {} thin labels",
    ),
    "outlier": Kind(
        "Outliers of their label",
        "Look at each: a wrong label, a bad photograph, or a rare view",
        "Look at a photograph that is far from the others of its label",
        "Look at {} photographs that are far from the others of their label",
    ),
    "near_duplicate": Kind("Near-duplicates", "Keep them on one side of any split, by --group-regex"),
}
_LAST = ("thin_label", "outlier")
"""What can wait until rejected photographs are mended."""
MANY_REJECTED = 0.1
"""Share of the photographs from which a run that finished is not said to have worked."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One large number: what it is, the number, and a line below it; ``weak`` where it is not to be relied on."""

    name: str
    value: str
    note: str
    weak: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do, and the section that shows why."""

    what: str
    why: str
    section: str


@dataclass(frozen=True)
class Verdict:
    """The first screen.

    Attributes
    ----------
    good : bool
        Whether nothing asks for a look.
    headline, sentence : str
    figures : list of Figure
        Five.
    actions : list of Action
        The gravest first.
    """

    good: bool
    headline: str
    sentence: str
    figures: list[Figure]
    actions: list[Action] = field(default_factory=list)


def judge(manifest: dict[str, Any], in_table: dict[str, int] | None = None) -> Verdict:
    """The verdict on a run, from its manifest, and its photographs in the table by label where they are known."""
    listed = manifest["photographs"]
    last = [kind for kind in KINDS if kind in _LAST or (kind == "suspected_mislabel" and mislabels_weak(manifest))]
    actions = [
        *_of_audit(manifest, [kind for kind in KINDS if kind not in last]),
        *_of_rejects(manifest),
        *_of_ignored(listed.get("ignored") or {}),
        *_of_audit(manifest, last),
        *_of_classifier(manifest),
        *_of_warnings(manifest),
    ]
    things = "one thing wants" if len(actions) == 1 else f"{len(actions)} things want"
    worked = "The run worked"
    if listed["rejected"] > MANY_REJECTED * listed["listed"]:
        worked = f"The run finished without {listed['rejected']:,} of {listed['listed']:,} photographs"
    headline = f"{worked}." if not actions else f"{worked}; {things} a look."
    how = [f"{listed['computed']:,} computed now"] if listed["computed"] else ["nothing was new"]
    how += [f"{listed['known']:,} known before"] if listed["known"] else []
    sentence = f"{listed['projected']:,} of {listed['listed']:,} photographs are in the table: {', '.join(how)}"
    sentence += f", {listed['rejected']:,} rejected." if listed["rejected"] else ", none rejected."
    if ignored := others(listed.get("ignored") or {}):
        sentence += f" Beside them, the folder holds {ignored}."
    if reused(manifest):
        sentence += f" The components are those of run {manifest['pca']['fitted_by']}."
    return Verdict(not actions, headline, sentence, figures(manifest, in_table), actions)


def figures(manifest: dict[str, Any], in_table: dict[str, int] | None = None) -> list[Figure]:
    """The five figures: photographs, labels, components, classifier, cost."""
    listed, pca = manifest["photographs"], manifest["pca"]
    labels = manifest["labels"] if in_table is None else in_table
    share = keeps(manifest)
    named = {name: count for name, count in labels.items() if name}
    least, most = min(named.values(), default=0), max(named.values(), default=0)
    sizes = (
        f"{least:,} to {most:,} photographs each"
        if least < most
        else f"{most:,} photographs{' each' if len(named) > 1 else ''}"
    )
    return [
        Figure("Photographs", f"{listed['projected']:,}", f"in the table, of {listed['listed']:,} listed"),
        Figure("Labels", f"{len(named):,}", sizes if named else "no folder names any"),
        Figure(
            "Components",
            f"{pca['n_components']:,}",
            f"of another run, where they keep {kept(pca):.1%} of the variance"
            if share is None
            else f"keep{'s' if pca['n_components'] == 1 else ''} {share:.1%} of the variance"
            + (", and are another run's" if reused(manifest) else ""),
        ),
        _classifier(manifest.get("classifier")),
        _cost(manifest),
    ]


def kept(pca: dict[str, Any]) -> float:
    """Share of the variance that the chosen components keep of the photographs that they were fitted on."""
    return float(sum(pca["explained_variance_ratio"][: pca["n_components"]]))


def keeps(manifest: dict[str, Any]) -> float | None:
    """The same of the run's own photographs; None where that was not measured."""
    pca = manifest["pca"]
    if "kept" in pca:
        return float(pca["kept"]["share"])
    return None if reused(manifest) else kept(pca)


def reused(manifest: dict[str, Any]) -> bool:
    """Whether the components are another run's."""
    return bool(manifest["pca"]["fitted_by"] != manifest["run_id"])


def seconds(manifest: dict[str, Any]) -> float:
    """How long the run took, as far as the manifest knows."""
    start, end = (datetime.fromisoformat(manifest[key]) for key in ("started_at", "finished_at"))
    return (end - start).total_seconds()


def euros(value: float | None) -> str:
    """An amount with as many digits as it takes to be more than nothing."""
    if value is None:
        return "unknown"
    return f"EUR {value:,.2f}" if value >= 1 or value == 0 else f"EUR {value:.2g}"


def _cost(manifest: dict[str, Any]) -> Figure:
    took = duration(seconds(manifest))
    per_1000 = manifest["cost"]["eur_per_1000"]
    if per_1000 is None:
        return Figure("Time", took, f"{euros(manifest['cost']['eur'])} in all; nothing was computed")
    return Figure("Cost per thousand", euros(per_1000), f"{euros(manifest['cost']['eur'])} in all, {took}")


def duration(spent: float) -> str:
    """Seconds as people say them."""
    if spent < 0.1:
        return "under 0.1 s"
    if spent < 100:
        return f"{spent:.1f} s" if spent < 10 else f"{spent:.0f} s"
    minutes, rest = divmod(round(spent), 60)
    if minutes < 100:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _classifier(summary: dict[str, Any] | None) -> Figure:
    if not summary or "accuracy" not in summary:
        return Figure("Classifier", "none", (summary or {}).get("absent") or "see below")
    tested = summary["n_test"]
    how = {
        "own": f"On {tested:,} photographs of your own split",
        "grouped": f"On {tested:,} photographs, whole groups held out",
        "random": f"Random split, optimistic, of {tested:,} photographs",
    }[summary["split"]]
    because = weakness(summary)
    if because:
        how += "; weak evidence"
    said = (
        f"{how}. Always saying the largest of {summary['n_classes']:,} classes: {summary['baselines']['majority']:.1%}"
    )
    return Figure("Accuracy", f"{summary['accuracy']:.1%}", said, bool(because or summary["optimistic"]))


def counts(manifest: dict[str, Any]) -> dict[str, int | None]:
    """How often the audit found what, by kind, None where it could not look; empty where there is no audit."""
    found = (manifest.get("audit") or {}).get("counts") or {}
    return {kind: of["found"] for kind, of in found.items()}


def across(manifest: dict[str, Any]) -> str:
    """The splits between which the audit has found near-duplicates."""
    audit = manifest.get("audit") or {}
    return str(audit.get("near_duplicates", {}).get("across") or "Training and Test")


def mislabels_weak(manifest: dict[str, Any]) -> bool:
    """Whether suspected mislabels are weak evidence, as the classifier errs too often."""
    return bool((manifest.get("audit") or {}).get("suspected_mislabels", {}).get("weak"))


def _of_audit(manifest: dict[str, Any], kinds: Sequence[str]) -> list[Action]:
    found, sides = counts(manifest), across(manifest)
    return [
        Action(
            (KINDS[name].one if number == 1 else KINDS[name].many).format(f"{number:,}", across=sides),
            "weak evidence: the classifier errs too often"
            if name == "suspected_mislabel" and mislabels_weak(manifest)
            else "",
            "audit",
        )
        for name in kinds
        if KINDS[name].act and (number := found.get(name))
    ]


def _of_classifier(manifest: dict[str, Any]) -> list[Action]:
    summary, pattern = manifest.get("classifier") or {}, manifest["config"].get("class_regex")
    if "absent" in summary and pattern:
        return [Action("Look at --class-regex: there is no classifier", summary["absent"], "classifier")]
    if "absent" in summary and not any(manifest["labels"]):
        return [Action("Put the photographs of each fruit into a folder of its own", summary["absent"], "classifier")]
    if "accuracy" not in summary:
        return []
    because, actions = weakness(summary), []
    if summary["optimistic"]:
        why = "the accuracy is of a random split, and optimistic"
        actions = [Action("Say what belongs together with --group-regex", why, "classifier")]
    return actions + ([Action("Do not rely on the accuracy yet", because, "classifier")] if because else [])


def _of_rejects(manifest: dict[str, Any]) -> list[Action]:
    rejected = manifest["photographs"]["rejected"]
    if not rejected:
        return []
    reasons = sorted(manifest["rejected_by_reason"].items(), key=lambda item: -item[1])
    why = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in reasons)
    which = "photograph that was" if rejected == 1 else "photographs that were"
    return [Action(f"Mend or remove {rejected:,} {which} rejected", why, "rejects")]


def _of_ignored(ignored: dict[str, int]) -> list[Action]:
    """Photographs among the files that were not read."""
    actions = []
    if images := {suffix: count for suffix, count in ignored.items() if suffix in UNREAD}:
        what = f"Turn {by_suffix(images)} into JPEG or PNG"
        actions.append(Action(what, "they are images of kinds that are not read", "rejects"))
    if unnamed := ignored.get(NOT_UTF8):
        which = "a file whose name is" if unnamed == 1 else f"{unnamed:,} files whose names are"
        actions.append(Action(f"Rename {which} not UTF-8", "they were not read", "rejects"))
    return actions


def _of_warnings(manifest: dict[str, Any]) -> list[Action]:
    """Each warning as it was said, up to a few."""
    said = manifest["warnings"]
    actions = [Action("Read a warning of the run", warning, "configuration") for warning in said[:MAX_WARNINGS]]
    if len(said) > MAX_WARNINGS:
        more = f"Read {len(said) - MAX_WARNINGS:,} more warnings"
        actions.append(Action(more, "they are listed at the end", "configuration"))
    return actions
