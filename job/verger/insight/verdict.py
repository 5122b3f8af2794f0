"""The page's first screen: whether the run worked, five figures, and what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

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
        "Near-duplicates across Training and Test",
        "Move both to one side: a score on such a Test flatters",
        "Move a photograph in Test that looks like one in Training",
        "Move {} photographs in Test that look like ones in Training: a score on them flatters",
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
        "Remove copies: {} photographs are there more than once",
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
    "near_duplicate": Kind("Near-duplicates", "Keep them on one side of any split: give --group-regex"),
}


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


def judge(manifest: dict[str, Any]) -> Verdict:
    """The verdict on a run, from its manifest alone."""
    listed, pca = manifest["photographs"], manifest["pca"]
    actions = [*_of_audit(manifest), *_of_rejects(manifest), *_of_classifier(manifest), *_of_warnings(manifest)]
    things = "one thing wants" if len(actions) == 1 else f"{len(actions)} things want"
    headline = "The run worked." if not actions else f"The run worked; {things} a look."
    how = [f"{listed['computed']:,} computed now"] if listed["computed"] else ["nothing was new"]
    how += [f"{listed['known']:,} known before"] if listed["known"] else []
    sentence = f"{listed['projected']:,} of {listed['listed']:,} photographs are in the table: {', '.join(how)}"
    sentence += f", {listed['rejected']:,} rejected." if listed["rejected"] else ", none rejected."
    if pca.get("kept"):
        sentence += f" The components are those of run {pca['fitted_by']}."
    return Verdict(not actions, headline, sentence, figures(manifest), actions)


def figures(manifest: dict[str, Any]) -> list[Figure]:
    """The five figures: photographs, labels, components, classifier, cost."""
    listed, pca, labels = manifest["photographs"], manifest["pca"], manifest["labels"]
    share = pca["kept"]["share"] if "kept" in pca else kept(pca)
    named = {name: count for name, count in labels.items() if name}
    least, most = min(named.values(), default=0), max(named.values(), default=0)
    sizes = f"{least:,} to {most:,} photographs each" if least < most else f"{most:,} photographs each"
    return [
        Figure("Photographs", f"{listed['projected']:,}", f"in the table, of {listed['listed']:,} listed"),
        Figure("Labels", f"{len(named):,}", sizes if named else "no folder names any"),
        Figure(
            "Components",
            f"{pca['n_components']:,}",
            f"keep{'s' if pca['n_components'] == 1 else ''} {share:.1%} of the variance",
        ),
        _classifier(manifest.get("classifier")),
        _cost(manifest),
    ]


def kept(pca: dict[str, Any]) -> float:
    """Share of the variance that the chosen components keep."""
    return float(sum(pca["explained_variance_ratio"][: pca["n_components"]]))


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
    weak, majority = summary["optimistic"], summary["baselines"]["majority"]
    how = "Random split, optimistic" if weak else _held_out(summary["split"])
    note = f"{how}; {summary['n_classes']:,} classes, the largest alone {majority:.1%}"
    return Figure("Accuracy", f"{summary['accuracy']:.1%}", note, weak)


def _held_out(split: str) -> str:
    return "On your own Test" if split == "own" else "Whole groups held out"


def counts(manifest: dict[str, Any]) -> dict[str, int]:
    """How often the audit found what, by kind; empty where there is no audit."""
    found = (manifest.get("audit") or {}).get("counts") or {}
    return {kind: int(of["found"]) for kind, of in found.items()}


def _of_audit(manifest: dict[str, Any]) -> list[Action]:
    found = counts(manifest)
    return [
        Action(kind.one if found[name] == 1 else kind.many.format(f"{found[name]:,}"), "", "audit")
        for name, kind in KINDS.items()
        if kind.act and found.get(name)
    ]


def _of_classifier(manifest: dict[str, Any]) -> list[Action]:
    if not (manifest.get("classifier") or {}).get("optimistic"):
        return []
    why = "the accuracy is of a random split, and optimistic"
    return [Action("Say what belongs together with --group-regex", why, "classifier")]


def _of_rejects(manifest: dict[str, Any]) -> list[Action]:
    rejected = manifest["photographs"]["rejected"]
    if not rejected:
        return []
    reasons = sorted(manifest["rejected_by_reason"].items(), key=lambda item: -item[1])
    why = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in reasons)
    which = "photograph that was" if rejected == 1 else "photographs that were"
    return [Action(f"Mend or remove {rejected:,} {which} rejected", why, "rejects")]


def _of_warnings(manifest: dict[str, Any]) -> list[Action]:
    """Each warning as it was said, up to a few."""
    said = manifest["warnings"]
    actions = [Action("Read a warning of the run", warning, "configuration") for warning in said[:MAX_WARNINGS]]
    if len(said) > MAX_WARNINGS:
        more = f"Read {len(said) - MAX_WARNINGS:,} more warnings"
        actions.append(Action(more, "they are listed at the end", "configuration"))
    return actions
