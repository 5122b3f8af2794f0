"""The targets of the project, each met or not, computed from the figures of `make bench`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

Parts = dict[str, dict[str, Any]]

GIBIBYTES_2 = (2 << 30) / 1e6
"""2 GiB in MB."""


class Verdict(NamedTuple):
    """A target and what was measured.

    Attributes
    ----------
    what : str
        What is compared with what.
    target : str
        The least or most that is wanted.
    measured : str
        As text; why not, where it was not measured.
    met : bool or None
        None where it was not measured.
    """

    what: str
    target: str
    measured: str
    met: bool | None


class NotMeasuredError(Exception):
    """The figures of a target are not there; its text says why."""


def verdicts(parts: Parts) -> list[Verdict]:
    """All targets.

    Parameters
    ----------
    parts : dict of str to dict
        The figures of each part, by its name; a part that was not measured has ``skipped`` alone, or is missing.

    Returns
    -------
    list of Verdict
        In the order of the page.
    """
    found = []
    for what, limit, is_least, unit, compute in TARGETS:
        target = f"at {'least' if is_least else 'most'} {_text(limit, unit)}"
        try:
            value = compute(parts)
        except NotMeasuredError as why:
            found.append(Verdict(what, target, f"not measured: {why}", None))
            continue
        met = value >= limit if is_least else value <= limit
        found.append(Verdict(what, target, _text(value, unit), met))
    return found


def _text(value: float, unit: str) -> str:
    if unit == "%":
        return f"{value:.0%}"
    if unit == "MB":
        return f"{value:,.0f} MB"
    if unit == "":
        return f"{value:.0e}"
    return f"{value:.2f} times"


def part(parts: Parts, name: str) -> dict[str, Any]:
    """The figures of a part; NotMeasuredError where there are none."""
    found = parts.get(name) or {"skipped": "this part did not run"}
    if "skipped" in found and isinstance(found["skipped"], str):
        raise NotMeasuredError(found["skipped"])
    return found


def _run(parts: Parts, name: str) -> dict[str, Any]:
    figures = part(parts, "runs")
    if name not in figures["runs"]:
        raise NotMeasuredError(figures["skipped"].get(name, "this kind did not run"))
    found: dict[str, Any] = figures["runs"][name]
    return found


def features_ratio(parts: Parts, name: str) -> float:
    """How many times as long the notebook's feature pass takes as the features stage of a run."""
    ours = _run(parts, name)
    return float(_run(parts, "best")["stages_s"]["features"] / ours["stages_s"]["features"])


def whole_ratio(parts: Parts) -> float:
    """How many times as long the notebook's best form takes as a run that does the same."""
    return float(_run(parts, "best")["seconds"] / _run(parts, "plain")["seconds"])


def steady_share(parts: Parts) -> float:
    """The rate of a long run once it is warm, as a share of the network alone."""
    return float(_run(parts, "long")["features"]["warm"] / part(parts, "runs")["alone_photographs_per_s"])


def store_share(parts: Parts) -> float:
    """The same through S3 with latency."""
    figures = part(parts, "object_store")
    return float(figures["run"]["features"]["warm"] / figures["alone_photographs_per_s"])


def _fits(parts: Parts, rows: int | None, dimension: int) -> dict[str, Any]:
    shapes = [shape for shape in part(parts, "pca")["shapes"] if shape["dimension"] == dimension]
    chosen = [shape for shape in shapes if rows in (None, shape["rows"])]
    if not chosen:
        raise NotMeasuredError("this shape did not run")
    fits: dict[str, Any] = chosen[-1]["fits"]
    if "failed" in fits["verger"]:
        raise NotMeasuredError(f"Verger's fit failed: {fits['verger']['failed']}")
    return fits


def pca_ratio(parts: Parts) -> float:
    """How many times as long MLlib's fit takes as Verger's."""
    fits = _fits(parts, 20_000, 1280)
    if "failed" in fits["mllib"]:
        raise NotMeasuredError(f"MLlib's fit failed: {fits['mllib']['failed']}")
    return float(fits["mllib"]["seconds"] / fits["verger"]["seconds"])


def pca_difference(parts: Parts) -> float:
    """How far shares of the variance are from scikit-learn's, at most, over all shapes."""
    shapes = part(parts, "pca")["shapes"]
    return max(float(_fits(parts, shape["rows"], shape["dimension"])["verger"]["difference"]) for shape in shapes)


def pca_memory(parts: Parts) -> float:
    """Python and JVM of the driver together, MB, at 25,088 features."""
    memory = _fits(parts, None, 25_088)["verger"]["memory_mb"]
    return float(memory["driver"] + memory["jvm"])


def start_s(parts: Parts, session: str, tensorflow: str) -> float:
    """What a start cannot do without, one after the other: a session, and a worker's import of TensorFlow."""
    alone = part(parts, "cold_start")["alone_s"]
    return float(alone[session] + alone[tensorflow])


def usual_start_s(parts: Parts) -> float:
    """These two without what Verger does for them: no prepared classes, and all of TensorFlow."""
    return start_s(parts, "unprepared session", "whole tensorflow")


def own_start_s(parts: Parts) -> float:
    """These two as a run has them, which is shorter."""
    return start_s(parts, "session", "tensorflow")


def first_ratio(parts: Parts) -> float:
    """The second of the first photographs, against an unprepared start."""
    return float(part(parts, "cold_start")["first_photograph_s"] / usual_start_s(parts))


def own_first_ratio(parts: Parts) -> float:
    """The same against Verger's own session and import, which are shorter."""
    return float(part(parts, "cold_start")["first_photograph_s"] / own_start_s(parts))


def new_ratio(parts: Parts) -> float:
    """A whole run with 5 new photographs, against an unprepared start."""
    return float(part(parts, "cold_start")["runs_s"]["new"] / usual_start_s(parts))


def own_new_ratio(parts: Parts) -> float:
    """The same against Verger's own session and import."""
    return float(part(parts, "cold_start")["runs_s"]["new"] / own_start_s(parts))


def decode_ratio(parts: Parts) -> float:
    """How many times as many photographs of 12 megapixels are decoded as when they are decoded in full."""
    return float(part(parts, "decode")["speed"]["12 megapixels"]["decode_per_s"]["times"])


TARGETS: tuple[tuple[str, float, bool, str, Callable[[Parts], float]], ...] = (
    ("Features, against the notebook's feature pass", 5.0, True, "times", lambda parts: features_ratio(parts, "plain")),
    (
        "Features in bfloat16, against the notebook's feature pass",
        8.0,
        True,
        "times",
        lambda parts: features_ratio(parts, "bfloat16"),
    ),
    ("Whole run, against the notebook's best form", 4.5, True, "times", whole_ratio),
    ("Steady state from disk, of the folded network alone", 0.85, True, "%", steady_share),
    ("Steady state through S3 with latency, of the folded network alone", 0.85, True, "%", store_share),
    ("First photograph on the screen, of an unprepared session and import", 1.2, False, "times", first_ratio),
    ("First photograph, of Verger's own session and import", 1.2, False, "times", own_first_ratio),
    ("Run of 5 new photographs, of an unprepared session and import", 1.5, False, "times", new_ratio),
    ("Run of 5 new photographs, of Verger's own session and import", 1.5, False, "times", own_new_ratio),
    ("Decoding of 12 megapixels, scaled against full", 3.0, True, "times", decode_ratio),
    ("PCA of 20,000 x 1,280, against MLlib", 8.0, True, "times", pca_ratio),
    ("PCA: difference to scikit-learn's shares of variance", 1e-6, False, "", pca_difference),
    ("PCA of 25,088 features: Python and JVM of the driver, 2 GiB", GIBIBYTES_2, False, "MB", pca_memory),
)
"""What, limit, whether it is the least, unit, and how it is computed."""
