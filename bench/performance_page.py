"""The page of `make bench`: its figures as tables, and each target met or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from performance_chart import ENGINES, NOTEBOOK, RUNS
from targets import Parts, verdicts

TEMPLATES = Path(__file__).parent / "templates"
PARTS = ("runs", "network_alone", "pca", "cold_start", "object_store", "decode")
PCA_NAMES = {"verger": "Verger", "mllib": "MLlib", "scikit-learn": "scikit-learn"}
QUALITY_NAMES = {
    "drawn": "drawn at 12 megapixels",
    "tiled": "of shops, tiled to 12 megapixels",
    "native 80": "of shops as they are, for a network that sees 80 pixels",
    "native 40": "of shops as they are, for a network that sees 40 pixels",
}
_PROCESSES = ("driver", "jvm", "workers", "all workers")


def page(figures: dict[str, Any]) -> str:
    """The page as Markdown.

    Parameters
    ----------
    figures : dict
        What `performance.py` writes: ``date``, ``machine``, ``versions``, ``revision``, and by name the figures of
        ``parts``.

    Returns
    -------
    str
        A part that was not measured has one sentence, which says why.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    environment.filters |= {"s": _seconds, "range": _range, "memory": _memory, "cell": _cell}
    parts: Parts = figures["parts"]
    measured = {name: parts[name] if is_measured(parts.get(name)) else None for name in PARTS}
    return environment.get_template("performance.md.j2").render(
        **{name: figures[name] for name in ("date", "machine", "versions", "revision")},
        quick=any(part and part.get("quick") for part in parts.values()),
        **measured,
        why={name: f"Not measured: {_reason(parts.get(name))}." for name in PARTS},
        verdicts=verdicts(parts),
        base=("verger", "python", "java"),
        run_names=NOTEBOOK | {name: text.replace("verger run", "`verger run`") for name, text in RUNS.items()},
        engine_names=ENGINES,
        pca_names=PCA_NAMES,
        quality_names=QUALITY_NAMES,
        none=None,
        true=True,
        false=False,
    )


def is_measured(found: dict[str, Any] | None) -> bool:
    """Whether a part has figures: one that was left out has ``skipped``, a sentence, and nothing else."""
    return bool(found) and not isinstance((found or {}).get("skipped"), str)


def _reason(found: dict[str, Any] | None) -> str:
    return str((found or {"skipped": "this part did not run"}).get("skipped"))


def _seconds(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _range(turns: list[float]) -> str:
    """The least and the most of several turns."""
    return f" ({_seconds(min(turns))} to {_seconds(max(turns))})" if len(turns) > 1 else ""


def _memory(peaks: dict[str, int]) -> str:
    """Peak memory by process, in a fixed order."""
    return " / ".join(f"{peaks[kind]:,}" if peaks.get(kind) else "-" for kind in _PROCESSES)


def _cell(text: str) -> str:
    """Text of one cell of a table."""
    return " ".join(str(text).replace("|", "\\|").replace("<", "&lt;").split())
