"""What `identify` has found, for a person."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from verger.insight.evidence import none_of_these, weakness
from verger.insight.identify.identification import Identification
from verger.insight.identify.loaded_run import LoadedRun
from verger.insight.names import NO_LABEL, below
from verger.text import one_line

_BAR = 20
_WIDEST = 32


def lines(found: Identification, loaded: LoadedRun | None) -> list[Text]:
    """A photograph's: its name, the verdict, classes, and what is most alike."""
    name = Text(one_line(found.photograph), style="bold")
    if found.failure:
        reason, message = found.failure
        said = message if reason in ("missing", "unreadable") else f"{reason.replace('_', ' ')}: {message}"
        return [name, Text(f"  cannot be identified: {one_line(said)}", style="red"), Text()]
    told = [name, *_verdict(found), *_classes(found)]
    for number, (path, label, far) in enumerate(found.nearest):
        line = Text(f"  {'' if number else 'nearest':<8}{far:8.3f}  ", style="default")
        line.append(f"{one_line(label or NO_LABEL)}  ", style="cyan")
        told.append(line.append(one_line(below(path, loaded.figures["root"]) if loaded else path), style="dim"))
    return [*told, Text()]


def _verdict(found: Identification) -> list[Text]:
    if found.distance is None:
        return []
    line, where = Text("  "), f"{found.distance:.3f} from what is known"
    if found.is_none:
        line.append("none of these", style="bold yellow").append(f": {where}, beyond")
    else:
        line.append(f"{where}, within")
    line.append(f" the threshold of {found.unknown['threshold']:.3f}")
    return [line.append(_evidence(found.unknown), style="yellow")]


def _evidence(unknown: dict[str, Any]) -> str:
    """What is to be kept in mind of the verdict, in a word."""
    if unknown["weak"] is None:
        return " (evidence not measured)"
    if unknown["weak"]:
        return " (weak evidence)"
    return " (optimistic evidence)" if unknown["split"] == "random" else ""


def _classes(found: Identification) -> list[Text]:
    """The most probable classes, with bars."""
    if not found.classes:
        return []
    width = min(_WIDEST, max(len(name) for name, _ in found.classes))
    told = []
    for name, probability in found.classes:
        line = Text(f"  {probability:8.1%}  {one_line(name):<{width}}  ")
        told.append(line.append("█" * round(_BAR * probability), style="dim" if found.is_none else "green"))
    return told


def closing(loaded: LoadedRun) -> list[Text]:
    """What all of it was compared with, and what that is worth."""
    figures, seen = loaded.figures, len(loaded.directions)
    of = f"all {seen:,}" if seen == figures["rows"] else f"{seen:,} of {figures['rows']:,}"
    told = [f"Compared with {of} photographs of run {loaded.run_id}; distances are 1 - cosine."]
    if loaded.model and "accuracy" in figures:
        because = weakness(figures)
        told.append(
            f"Classifier: {figures['accuracy']:.1%} of {figures['n_test']:,} held-out photographs were named rightly; "
            f"{figures['says']}.{f' Weak evidence: {because}.' if because else ''}"
        )
    if loaded.known:
        told.append(none_of_these(loaded.unknown))
    notes = [Text(one_line(note), style="yellow") for note in loaded.notes]
    return [*(Text(one_line(line), style="dim") for line in told), *notes]
