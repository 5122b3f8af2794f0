"""The page's first screen: whether the run worked, five figures, and what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

MAX_ACTIONS = 8
DRIFT = 0.9


@dataclass(frozen=True, slots=True)
class Figure:
    """One large number: what it is, the number, and a line below it."""

    name: str
    value: str
    note: str


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
    counts, pca = manifest["photographs"], manifest["pca"]
    actions = [*_of_audit(manifest), *_of_rejects(manifest), *_of_classifier(manifest), *_of_warnings(manifest)]
    things = "one thing wants" if len(actions) == 1 else f"{len(actions)} things want"
    headline = "The run worked." if not actions else f"The run worked; {things} a look."
    how = [f"{counts['computed']:,} computed now"] if counts["computed"] else ["nothing was new"]
    how += [f"{counts['known']:,} known before"] if counts["known"] else []
    sentence = f"{counts['projected']:,} of {counts['listed']:,} photographs are in the table: {', '.join(how)}"
    sentence += f", {counts['rejected']:,} rejected." if counts["rejected"] else ", none rejected."
    if pca.get("kept"):
        sentence += f" The components are those of run {pca['fitted_by']}."
    return Verdict(not actions, headline, sentence, figures(manifest), actions)


def figures(manifest: dict[str, Any]) -> list[Figure]:
    """The five figures: photographs, labels, components, classifier, cost."""
    counts, pca, labels = manifest["photographs"], manifest["pca"], manifest["labels"]
    share = pca["kept"]["share"] if "kept" in pca else kept(pca)
    named = {name: count for name, count in labels.items() if name}
    sizes = f"{min(named.values()):,} to {max(named.values()):,} photographs each" if named else "no folder names any"
    return [
        Figure("Photographs", f"{counts['projected']:,}", f"in the table, of {counts['listed']:,} listed"),
        Figure("Labels", f"{len(named):,}", sizes),
        Figure("Components", f"{pca['n_components']:,}", f"keep {share:.1%} of the variance"),
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
    if spent < 100:
        return f"{spent:.1f} s" if spent < 10 else f"{spent:.0f} s"
    minutes, rest = divmod(round(spent), 60)
    if minutes < 100:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _classifier(summary: dict[str, Any] | None) -> Figure:
    return Figure("Classifier", "none", "no score for this run")


def _of_audit(manifest: dict[str, Any]) -> list[Action]:
    return []


def _of_classifier(manifest: dict[str, Any]) -> list[Action]:
    return []


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
    actions = [Action("Read a warning of the run", warning, "configuration") for warning in said[:3]]
    if len(said) > 3:
        actions.append(Action(f"Read {len(said) - 3:,} more warnings", "they are listed at the end", "configuration"))
    return actions
