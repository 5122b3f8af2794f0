"""What `verger identify` prints for a person."""

from __future__ import annotations

from rich.text import Text

from verger.insight.evidence import describe_none_of_these, weak_because
from verger.insight.identify.identification import Identification
from verger.insight.identify.loaded_run import LoadedRun
from verger.insight.names import NO_LABEL, relative_path
from verger.tables.manifest_parts import Classifier, NoneOfThese
from verger.text import one_line

_BAR_COLUMNS = 20
_MAX_NAME_COLUMNS = 32


def lines(found: Identification, loaded: LoadedRun | None) -> list[Text]:
    """Lines on one photograph: its path, the verdict, the classes, and the nearest photographs.

    Parameters
    ----------
    found : Identification
        Of the photograph.
    loaded : LoadedRun or None
        What it was compared with; without it, paths are not shortened.
    """
    heading = Text(one_line(found.photograph), style="bold")
    if found.failure:
        reason, message = found.failure
        why = message if reason in ("missing", "unreadable") else f"{reason.replace('_', ' ')}: {message}"
        return [heading, Text(f"  cannot be identified: {one_line(why)}", style="red"), Text()]
    result = [heading, *_verdict(found), *_classes(found)]
    for number, (path, label, distance) in enumerate(found.nearest):
        line = Text(f"  {'' if number else 'nearest':<8}{distance:8.3f}  ", style="default")
        line.append(f"{one_line(label or NO_LABEL)}  ", style="cyan")
        short = relative_path(path, loaded.manifest.input.uri) if loaded else path
        result.append(line.append(one_line(short), style="dim"))
    return [*result, Text()]


def _verdict(found: Identification) -> list[Text]:
    if found.distance is None or found.none_of_these is None:
        return []
    line, distance = Text("  "), f"{found.distance:.3f} from what is known"
    if found.is_none:
        line.append("none of these", style="bold yellow").append(f": {distance}, beyond")
    else:
        line.append(f"{distance}, within")
    line.append(f" the threshold of {found.none_of_these.threshold:.3f}")
    return [line.append(_evidence(found.none_of_these), style="yellow")]


def _evidence(threshold: NoneOfThese) -> str:
    """How far the verdict can be believed, in two words."""
    if threshold.weak is None:
        return " (evidence not measured)"
    if threshold.weak:
        return " (weak evidence)"
    return " (optimistic evidence)" if threshold.split == "random" else ""


def _classes(found: Identification) -> list[Text]:
    """The most probable classes, with bars."""
    if not found.classes:
        return []
    width = min(_MAX_NAME_COLUMNS, max(len(name) for name, _ in found.classes))
    result = []
    for name, probability in found.classes:
        line = Text(f"  {probability:8.1%}  {one_line(name):<{width}}  ")
        result.append(line.append("█" * round(_BAR_COLUMNS * probability), style="dim" if found.is_none else "green"))
    return result


def closing(loaded: LoadedRun) -> list[Text]:
    """Lines after the last photograph: what all were compared with, and what that is worth.

    Parameters
    ----------
    loaded : LoadedRun
        What the photographs were compared with.
    """
    classifier, rows, compared = loaded.manifest.classifier, loaded.manifest.projection.rows, len(loaded.directions)
    number = f"all {compared:,}" if compared == rows else f"{compared:,} of {rows:,}"
    text = [f"Compared with {number} photographs of run {loaded.run_id}; distances are 1 - cosine."]
    if loaded.model and isinstance(classifier, Classifier):
        why = weak_because(classifier)
        text.append(
            f"Classifier: {classifier.accuracy:.1%} of {classifier.n_test:,} held-out photographs were classified "
            f"correctly; "
            f"{classifier.says}.{f' Weak evidence: {why}.' if why else ''}"
        )
    if loaded.references:
        text.append(describe_none_of_these(loaded.none_of_these))
    notes = [Text(one_line(note), style="yellow") for note in loaded.notes]
    return [*(Text(one_line(line), style="dim") for line in text), *notes]
