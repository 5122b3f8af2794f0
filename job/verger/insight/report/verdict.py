"""The page's first screen: whether the run worked, five key numbers, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from verger.insight.evidence import weak_because
from verger.insight.report.issue_texts import ISSUE_TEXTS
from verger.insight.report.manifest_values import (
    are_mislabels_weak,
    compared_splits,
    duration,
    is_pca_reused,
    issue_counts,
    variance_kept,
    variance_kept_of_run,
)
from verger.photographs.suffixes import NOT_UTF8, UNREAD, describe_ignored, describe_suffixes
from verger.tables.manifest import Manifest
from verger.tables.manifest_parts import Absent, Classifier
from verger.units import eur_text, seconds_text

MAX_WARNINGS = 3
MAX_REJECTED = 0.1
"""Share of rejected photographs above which a run that finished is not said to have worked."""
_AFTER_REJECTS = ("thin_label", "outlier")
"""Issues that can wait until rejected photographs are repaired."""


@dataclass(frozen=True, slots=True)
class KeyNumber:
    """One large number of the first screen.

    Attributes
    ----------
    name : str
        What it is.
    value : str
        The number with its unit.
    note : str
        A line below it.
    weak : bool
        Whether it is not to be relied on.
    """

    name: str
    value: str
    note: str
    weak: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do.

    Attributes
    ----------
    what : str
        An imperative.
    why : str
        The reason; may be empty.
    section : str
        Id of the section that shows more.
    """

    what: str
    why: str
    section: str


@dataclass(frozen=True)
class Verdict:
    """The first screen.

    Attributes
    ----------
    good : bool
        Whether there is nothing to do.
    headline : str
        Whether the run worked.
    sentence : str
        What has become of the photographs.
    key_numbers : list of KeyNumber
        Five.
    actions : list of Action
        The gravest first.
    """

    good: bool
    headline: str
    sentence: str
    key_numbers: list[KeyNumber]
    actions: list[Action] = field(default_factory=list)


def verdict_of(manifest: Manifest, labels_in_table: dict[str, int] | None = None) -> Verdict:
    """The verdict on a run.

    Parameters
    ----------
    manifest : Manifest
        The run's.
    labels_in_table : dict of str to int, optional
        Photographs in the table by label, '' being none, where they are known.
    """
    listed = manifest.photographs
    weak = ("suspected_mislabel",) if are_mislabels_weak(manifest) else ()
    last = [kind for kind in ISSUE_TEXTS if kind in (*_AFTER_REJECTS, *weak)]
    actions = [
        *_on_issues(manifest, [kind for kind in ISSUE_TEXTS if kind not in last]),
        *_on_rejects(manifest),
        *_on_ignored(listed.ignored),
        *_on_issues(manifest, last),
        *_on_classifier(manifest),
        *_on_warnings(manifest),
    ]
    headline = "The run worked"
    if listed.rejected > MAX_REJECTED * listed.listed:
        headline = f"The run finished without {listed.rejected:,} of {listed.listed:,} photographs"
    if actions:
        headline += "; one thing needs a look" if len(actions) == 1 else f"; {len(actions)} things need a look"
    return Verdict(not actions, f"{headline}.", _sentence(manifest), key_numbers(manifest, labels_in_table), actions)


def _sentence(manifest: Manifest) -> str:
    listed = manifest.photographs
    counts = [f"{listed.computed:,} computed now" if listed.computed else "nothing was new"]
    counts += [f"{listed.known:,} known before"] if listed.known else []
    counts += [f"{listed.rejected:,} rejected" if listed.rejected else "none rejected"]
    text = f"{listed.projected:,} of {listed.listed:,} photographs are in the table: {', '.join(counts)}."
    if ignored := describe_ignored(listed.ignored):
        text += f" Beside them, the folder holds {ignored}."
    if is_pca_reused(manifest):
        text += f" The components are those of run {manifest.pca.fitted_by}."
    return text


def key_numbers(manifest: Manifest, labels_in_table: dict[str, int] | None = None) -> list[KeyNumber]:
    """The five key numbers: photographs, labels, components, accuracy, cost.

    Parameters
    ----------
    manifest : Manifest
        The run's.
    labels_in_table : dict of str to int, optional
        See `verdict_of`; by default, the labels of what is listed.
    """
    listed = manifest.photographs
    return [
        KeyNumber("Photographs", f"{listed.projected:,}", f"in the table, of {listed.listed:,} listed"),
        _labels(manifest.labels if labels_in_table is None else labels_in_table),
        _components(manifest),
        _accuracy(manifest.classifier),
        _cost(manifest),
    ]


def _labels(labels: dict[str, int]) -> KeyNumber:
    counts = [count for name, count in labels.items() if name]
    if not counts:
        return KeyNumber("Labels", "0", "no folder names any")
    least, most = min(counts), max(counts)
    if least < most:
        note = f"{least:,} to {most:,} photographs each"
    else:
        note = f"{most:,} photographs{' each' if len(counts) > 1 else ''}"
    return KeyNumber("Labels", f"{len(counts):,}", note)


def _components(manifest: Manifest) -> KeyNumber:
    pca, share = manifest.pca, variance_kept_of_run(manifest)
    if share is None:
        note = f"of another run, where they keep {variance_kept(pca):.1%} of the variance"
    else:
        note = f"keep{'s' if pca.n_components == 1 else ''} {share:.1%} of the variance"
        note += ", and are another run's" if is_pca_reused(manifest) else ""
    return KeyNumber("Components", f"{pca.n_components:,}", note)


def _accuracy(classifier: Classifier | Absent | None) -> KeyNumber:
    if not isinstance(classifier, Classifier):
        return KeyNumber("Classifier", "none", (classifier and classifier.absent) or "see below")
    n_test, why_weak = classifier.n_test, weak_because(classifier)
    note = {
        "own": f"On {n_test:,} photographs of your own split",
        "grouped": f"On {n_test:,} photographs, whole groups held out",
        "random": f"Random split, optimistic, of {n_test:,} photographs",
    }[classifier.split]
    note += "; weak evidence" if why_weak else ""
    note += f". Always predicting the largest of {classifier.n_classes:,} classes: "
    note += f"{classifier.baselines.majority:.1%}"
    return KeyNumber("Accuracy", f"{classifier.accuracy:.1%}", note, bool(why_weak or classifier.optimistic))


def _cost(manifest: Manifest) -> KeyNumber:
    took, total, per_1000 = seconds_text(duration(manifest)), manifest.cost.eur, manifest.cost.eur_per_1000
    if per_1000 is None:
        return KeyNumber("Time", took, f"{eur_text(total)} in all; nothing was computed")
    return KeyNumber("Cost per thousand", eur_text(per_1000), f"{eur_text(total)} in all, {took}")


def _on_issues(manifest: Manifest, kinds: Sequence[str]) -> list[Action]:
    found, splits = issue_counts(manifest), compared_splits(manifest)
    actions = []
    for kind in kinds:
        text, number = ISSUE_TEXTS[kind], found.get(kind)
        if text.needs_action and number:
            what = (text.action_one if number == 1 else text.action_many).format(f"{number:,}", across=splits)
            weak = kind == "suspected_mislabel" and are_mislabels_weak(manifest)
            actions.append(Action(what, "weak evidence: the classifier errs too often" if weak else "", "audit"))
    return actions


def _on_rejects(manifest: Manifest) -> list[Action]:
    rejected = manifest.photographs.rejected
    if not rejected:
        return []
    reasons = sorted(manifest.rejected_by_reason.items(), key=lambda item: -item[1])
    why = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in reasons)
    return [Action(f"Repair or remove {rejected:,} rejected photograph{'s' if rejected > 1 else ''}", why, "rejects")]


def _on_ignored(ignored: dict[str, int]) -> list[Action]:
    """Photographs among the files that were not read."""
    actions = []
    if images := {suffix: count for suffix, count in ignored.items() if suffix in UNREAD}:
        what = f"Turn {describe_suffixes(images)} into JPEG or PNG"
        actions.append(Action(what, "they are images of kinds that are not read", "rejects"))
    if unnamed := ignored.get(NOT_UTF8):
        which = "a file whose name is" if unnamed == 1 else f"{unnamed:,} files whose names are"
        actions.append(Action(f"Rename {which} not UTF-8", "they were not read", "rejects"))
    return actions


def _on_classifier(manifest: Manifest) -> list[Action]:
    classifier, pattern = manifest.classifier, manifest.config.get("class_regex")
    if isinstance(classifier, Absent) and pattern:
        return [Action("Look at --class-regex: there is no classifier", classifier.absent, "classifier")]
    if isinstance(classifier, Absent) and not any(manifest.labels):
        what = "Put the photographs of each fruit into a folder of its own"
        return [Action(what, classifier.absent, "classifier")]
    if not isinstance(classifier, Classifier):
        return []
    actions = []
    if classifier.optimistic:
        why = "the accuracy is of a random split, and optimistic"
        actions.append(Action("Say what belongs together with --group-regex", why, "classifier"))
    if why := weak_because(classifier):
        actions.append(Action("Do not rely on the accuracy yet", why, "classifier"))
    return actions


def _on_warnings(manifest: Manifest) -> list[Action]:
    warnings = manifest.warnings
    actions = [Action("Read a warning of the run", warning, "configuration") for warning in warnings[:MAX_WARNINGS]]
    if len(warnings) > MAX_WARNINGS:
        more = f"Read {len(warnings) - MAX_WARNINGS:,} more warnings"
        actions.append(Action(more, "they are listed at the end", "configuration"))
    return actions
