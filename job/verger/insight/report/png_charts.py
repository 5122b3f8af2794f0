"""The report's charts as pictures, for slides and letters; matplotlib is loaded when the first is drawn."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from verger.insight.names import NO_LABEL, cut
from verger.insight.report.content import Report
from verger.insight.report.label_statistics import balanced

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_DOTS = 5_000
MAX_LABELS = 40
NAMED = 36
"""Columns of text in a label's name."""
_ACCENT, _SOFT, _INK = "#2d6a4a", "#c9c6bb", "#1d2320"
_STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _SOFT,
    "axes.labelcolor": _INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "text.parse_math": False,  # a label may have a dollar in it
    "font.size": 10,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def draw(report: Report) -> dict[str, bytes]:
    """Every picture that there is something for: PNGs by file name."""
    import matplotlib

    pictures = {}
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that its font lacks, and names that leave little room, are no fault
        pictures["scree.png"] = _png(_scree(report))
        if report.in_table:
            pictures["labels.png"] = _png(_labels(report.in_table))
        if report.sample is not None and len(report.sample.components):
            pictures["scatter.png"] = _png(_scatter(report))
    return pictures


def _new(width: float, height: float) -> tuple[Figure, Any]:
    """A figure of its own, not pyplot's: nothing is kept, and no display is asked for."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _png(figure: Figure) -> bytes:
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=144, metadata={"Software": None})
    return sink.getvalue()


def _scree(report: Report) -> Figure:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    pca = report.manifest["pca"]
    k = pca["n_components"]
    shares = np.asarray(report.shares or pca["explained_variance_ratio"])[: max(2 * k, k + 8)]
    numbers = np.arange(1, len(shares) + 1)
    figure, axes = _new(7, 4)
    axes.bar(numbers, shares, color=np.where(numbers <= k, _ACCENT, _SOFT), width=0.8)
    axes.set(xlabel="Component", ylabel="Share of the variance")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    together = axes.twinx()
    together.plot(numbers, np.cumsum(shares), color=_INK, linewidth=1.5)
    together.set(ylim=(0, 1.02), ylabel="Cumulative")
    together.yaxis.set_major_formatter(PercentFormatter(1.0))
    together.spines["right"].set_visible(True)
    together.axvline(k + 0.5, color=_INK, linewidth=0.8, linestyle=":")
    axes.set_title(f"{k:,} components keep {shares[:k].sum():.1%} of the variance")
    return figure


def _labels(labels: dict[str, int]) -> Figure:
    from matplotlib.ticker import MaxNLocator

    ranked = sorted(labels.items(), key=lambda item: (-item[1], item[0]))
    shown = ranked if len(ranked) <= MAX_LABELS else [*ranked[: MAX_LABELS // 2], *ranked[-MAX_LABELS // 2 :]]
    figure, axes = _new(7, 1.2 + 0.2 * len(shown))
    # By position: names that are cut may be the same.
    axes.barh(range(len(shown)), [count for _, count in shown], color=_ACCENT)
    axes.set_yticks(range(len(shown)), [cut(name or NO_LABEL, NAMED) for name, _ in shown])
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    few = f", the {MAX_LABELS // 2} largest and the {MAX_LABELS // 2} smallest" if len(shown) < len(ranked) else ""
    axes.set_title(f"Photographs by label{few}")
    return figure


def _scatter(report: Report) -> Figure:
    from matplotlib import colormaps

    assert report.sample is not None
    labels = np.array([label or NO_LABEL for label in report.sample.photographs["label"].to_pylist()], dtype=str)
    dots = balanced(labels, MAX_DOTS)
    points = report.sample.components[dots]
    names, codes = np.unique(labels[dots], return_inverse=True)
    shares = report.manifest["pca"]["explained_variance_ratio"]
    figure, axes = _new(7, 6)
    few = len(names) <= 10
    colours = colormaps["tab10" if few else "gist_rainbow"](np.linspace(0, 1, 10 if few else len(names)))
    second = points[:, 1] if points.shape[1] > 1 else np.zeros(len(points))
    for code, name in enumerate(names):
        of = codes == code
        axes.scatter(
            points[of, 0], second[of], s=8, color=colours[code], alpha=0.7, linewidths=0, label=cut(name, NAMED)
        )
    axes.set_xlabel(f"Component 1 ({shares[0]:.1%})")
    axes.set_ylabel(f"Component 2 ({shares[1]:.1%})" if len(shares) > 1 else "")
    axes.set_title(f"{len(dots):,} photographs of {len(names):,} labels")
    if few:
        axes.legend(frameon=False, markerscale=2, fontsize=9)
    return figure
