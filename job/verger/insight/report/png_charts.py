"""The report's charts as PNGs, for slides and letters; matplotlib is loaded when the first is drawn."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from verger.insight.names import NO_LABEL, shorten
from verger.insight.report.content import Report
from verger.insight.report.label_statistics import balanced_sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_DOTS = 5_000
MAX_LABELS = 40
NAME_COLUMNS = 36
"""Columns of text of a label's name."""
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
    """Draw every chart that there is something for.

    Parameters
    ----------
    report : Report
        What is drawn.

    Returns
    -------
    dict of str to bytes
        PNGs by file name.
    """
    import matplotlib

    charts = {}
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font lacks, and of long names that leave little room
        charts["scree.png"] = _png(_scree(report))
        if report.labels_in_table:
            charts["labels.png"] = _png(_labels(report.labels_in_table))
        if report.sample is not None and len(report.sample.components):
            charts["scatter.png"] = _png(_scatter(report))
    return charts


def _new_figure(width: float, height: float) -> tuple[Figure, Any]:
    """A figure, in inches, and its axes. pyplot is avoided: it keeps figures, and asks for a display."""
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

    pca = report.manifest.pca
    k = pca.n_components
    ratios = np.asarray(report.variance_ratios or pca.explained_variance_ratio)[: max(2 * k, k + 8)]
    numbers = np.arange(1, len(ratios) + 1)
    figure, axes = _new_figure(7, 4)
    axes.bar(numbers, ratios, color=np.where(numbers <= k, _ACCENT, _SOFT), width=0.8)
    axes.set(xlabel="Component", ylabel="Share of the variance")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    cumulative = axes.twinx()
    cumulative.plot(numbers, np.cumsum(ratios), color=_INK, linewidth=1.5)
    cumulative.set(ylim=(0, 1.02), ylabel="Cumulative")
    cumulative.yaxis.set_major_formatter(PercentFormatter(1.0))
    cumulative.spines["right"].set_visible(True)
    cumulative.axvline(k + 0.5, color=_INK, linewidth=0.8, linestyle=":")
    axes.set_title(f"{k:,} components keep {ratios[:k].sum():.1%} of the variance")
    return figure


def _labels(labels: dict[str, int]) -> Figure:
    from matplotlib.ticker import MaxNLocator

    ranked = sorted(labels.items(), key=lambda item: (-item[1], item[0]))
    shown = ranked if len(ranked) <= MAX_LABELS else [*ranked[: MAX_LABELS // 2], *ranked[-MAX_LABELS // 2 :]]
    figure, axes = _new_figure(7, 1.2 + 0.2 * len(shown))
    # By position, because two shortened names may be equal.
    axes.barh(range(len(shown)), [count for _, count in shown], color=_ACCENT)
    axes.set_yticks(range(len(shown)), [shorten(name or NO_LABEL, NAME_COLUMNS) for name, _ in shown])
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    which = f", the {MAX_LABELS // 2} largest and the {MAX_LABELS // 2} smallest" if len(shown) < len(ranked) else ""
    axes.set_title(f"Photographs by label{which}")
    return figure


def _scatter(report: Report) -> Figure:
    from matplotlib import colormaps

    assert report.sample is not None
    labels = np.array([label or NO_LABEL for label in report.sample.photographs["label"].to_pylist()], dtype=str)
    dots = balanced_sample(labels, MAX_DOTS)
    points = report.sample.components[dots]
    names, codes = np.unique(labels[dots], return_inverse=True)
    ratios = report.manifest.pca.explained_variance_ratio
    figure, axes = _new_figure(7, 6)
    few = len(names) <= 10
    colours = colormaps["tab10" if few else "gist_rainbow"](np.linspace(0, 1, 10 if few else len(names)))
    second = points[:, 1] if points.shape[1] > 1 else np.zeros(len(points))
    for code, name in enumerate(names):
        of = codes == code
        label = shorten(name, NAME_COLUMNS)
        axes.scatter(points[of, 0], second[of], s=8, color=colours[code], alpha=0.7, linewidths=0, label=label)
    axes.set_xlabel(f"Component 1 ({ratios[0]:.1%})")
    axes.set_ylabel(f"Component 2 ({ratios[1]:.1%})" if len(ratios) > 1 else "")
    axes.set_title(f"{len(dots):,} photographs of {len(names):,} labels")
    if few:
        axes.legend(frameon=False, markerscale=2, fontsize=9)
    return figure
