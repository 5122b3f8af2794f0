"""Geometry of the charts: coordinates for SVG, in its user units. `templates/charts.svg.j2` draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from verger.insight.arrays import Float64Array
from verger.insight.names import natural_key, shorten
from verger.insight.report.colours import dot_colour

SCREE = (400, 240)
SCATTER = (720, 560)
"""Width and height."""
MAX_COMPONENTS = 200
"""In the scree plot, or all chosen ones."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 14, 30
_MARGIN_COLUMNS = 20  # columns of text in a matrix' margin
# Hues in degrees that are told apart also by most people with colour vision deficiency, in this order.
_HUES = (150, 255, 30, 330, 90, 210, 300)


def scree(ratios: Sequence[float], chosen: int) -> dict[str, Any]:
    """The scree plot, and the cumulative variance.

    Parameters
    ----------
    ratios : sequence of float
        Share of the variance, from 0 to 1, of each component, descending; those beyond the chosen ones included where
        they are known.
    chosen : int
        Components that the run keeps.

    Returns
    -------
    dict
        Sizes, ``bars`` and ``line`` (the cumulative share), axes' ``steps``, ``shares`` and ``ticks``, and the
        ``marker`` at the chosen number.
    """
    shown = min(len(ratios), max(2 * chosen, chosen + 8), max(MAX_COMPONENTS, chosen))
    values = np.asarray(ratios[:shown], dtype=float)
    cumulative = np.cumsum(values)
    width, height = SCREE
    bottom = height - _BOTTOM
    tall, slot = bottom - _TOP, (width - _LEFT - _RIGHT) / max(shown, 1)
    top, step = _axis(float(values.max(initial=0.0)))
    marker = _LEFT + slot * max(chosen - 0.5, 0)
    kept = float(cumulative[chosen - 1]) if chosen and shown else 0.0
    return {
        "width": width,
        "height": height,
        "left": _LEFT,
        "right": width - _RIGHT,
        "top": _TOP,
        "bottom": bottom,
        "shown": shown,
        "chosen": chosen,
        "kept": kept,
        "bars": [
            {
                "x": _rounded(_LEFT + slot * (i + 0.09)),
                "y": _rounded(bottom - tall * value / top),
                "w": _rounded(max(slot * 0.82, 0.6)),
                "h": _rounded(tall * value / top),
                "in": i < chosen,
            }
            for i, value in enumerate(values)
        ],
        "steps": [
            {"y": _rounded(bottom - tall * at / top), "text": _percent(at, step)}
            for at in np.arange(0, top + step / 2, step)
        ],
        "shares": [{"y": _rounded(bottom - tall * share), "text": f"{share:.0%}"} for share in (0, 0.25, 0.5, 0.75, 1)],
        "line": " ".join(
            f"{_rounded(_LEFT + slot * (i + 0.5))},{_rounded(bottom - tall * min(share, 1.0))}"
            for i, share in enumerate(cumulative)
        ),
        "marker": _rounded(marker),
        "marker_y": _rounded(bottom - tall * min(kept, 1.0)),
        "marker_end": marker > width * 0.6,
        "ticks": [{"x": _rounded(_LEFT + slot * (number - 0.5)), "text": number} for number in _round_numbers(shown)],
    }


def scatter(
    components: npt.NDArray[np.floating],
    labels: npt.NDArray[np.str_],
    ratios: Sequence[float],
    classes: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The scatter plot of the first two components. With one component, the height has no meaning.

    Parameters
    ----------
    components : ndarray of float, shape (n, k)
        Of the photographs that are shown.
    labels : ndarray of str, shape (n,)
        Their labels, which can be picked.
    ratios : sequence of float
        Share of the variance, from 0 to 1, of each component.
    classes : dict of str to str, optional
        The class of each label, by which dots are coloured; by default, the label itself.

    Returns
    -------
    dict
        Sizes, ``groups`` of points by label, ``axes`` as text, ``classes``: the colour of each, ``by_class``: whether
        these are not the labels, ``few``: whether each has a colour that is easily told
        from the others, and ``k``, the number of components.
    """
    single = components.shape[1] < 2
    x = components[:, 0].astype(float)
    y = np.random.default_rng(0).uniform(-1, 1, len(x)) if single else components[:, 1].astype(float)
    width, height = SCATTER
    across, down = _scale(x, 14, width - 14), _scale(y, height - 34, 14)
    names = sorted(set(labels.tolist()), key=natural_key)
    coloured = sorted({classes[name] for name in names}, key=natural_key) if classes else names
    few = len(coloured) <= len(_HUES)
    hues = {
        name: _HUES[number] if few else _rounded(360 * number / len(coloured)) for number, name in enumerate(coloured)
    }
    colours = {name: dot_colour(hue) for name, hue in hues.items()}
    groups = [
        {
            "name": name,
            "hue": hues[classes[name] if classes else name],
            "colour": colours[classes[name] if classes else name],
            "points": [
                {"x": _rounded(across[i]), "y": _rounded(down[i]), "i": int(i)} for i in np.flatnonzero(labels == name)
            ],
        }
        for name in names
    ]
    second = "Random height, so that dots do not overlap" if single else "Component 2" + _ratio_text(ratios, 1)
    return {
        "width": width,
        "height": height,
        "groups": groups,
        "axes": ["Component 1" + _ratio_text(ratios, 0), second],
        "few": few,
        "k": components.shape[1],
        "classes": colours,
        "by_class": classes is not None,
    }


def matrix(names: Sequence[str], counts: Sequence[Sequence[int]]) -> dict[str, Any]:
    """A confusion matrix of many classes, as shaded squares.

    Parameters
    ----------
    names : sequence of str
        Classes.
    counts : sequence of sequence of int, shape (classes, classes)
        Photographs by their class, and by the predicted one.

    Returns
    -------
    dict
        ``size``, ``margin``, ``names`` along the margin, and the ``cells`` that are not 0, with their share of the row.
    """
    cell, margin = 10, 96
    table = np.asarray(counts)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    short = [shorten(name, _MARGIN_COLUMNS) for name in names]
    return {
        "size": margin + cell * len(names),
        "margin": margin,
        "names": [{"at": margin + cell * i + cell / 2, "text": text} for i, text in enumerate(short)],
        "cells": [
            {
                "x": margin + cell * int(column),
                "y": margin + cell * int(row),
                "v": round(float(shares[row, column]), 3),
                "says": f"{short[row]}, taken for {short[column]}: {table[row, column]:,}",
            }
            for row, column in np.argwhere(table)
        ],
    }


def reliability(calibration: dict[str, Any]) -> dict[str, Any]:
    """The reliability diagram: accuracy by confidence. On the diagonal, probabilities are what they promise.

    Parameters
    ----------
    calibration : dict
        Of ``classifier.json``.

    Returns
    -------
    dict
        ``dots`` and the ``line`` through them, axes' ``steps``, and a caption, ``says``.
    """
    dots = [
        {"x": _rounded(44 + 344 * row["confidence"]), "y": _rounded(270 - 256 * row["accuracy"])}
        for row in calibration["bins_calibrated"]
    ]
    return {
        "steps": [{"x": 44 + 344 * at, "y": 270 - 256 * at, "text": f"{at:.0%}"} for at in (0, 0.25, 0.5, 0.75, 1)],
        "dots": dots,
        "line": " ".join(f"{dot['x']},{dot['y']}" for dot in dots),
        "says": f"Accuracy (upwards) by confidence (across) of {calibration['n']:,} held-out photographs, with a "
        f"temperature of {calibration['temperature']:.2f}. Mean error {calibration['ece_calibrated']:.1%}, "
        f"{calibration['ece']:.1%} without it. The temperature was set on these photographs, so the error with it is "
        "optimistic",
    }


def _ratio_text(ratios: Sequence[float], number: int) -> str:
    return f" · {ratios[number]:.1%} of the variance" if number < len(ratios) else ""


def _scale(values: Float64Array, start: float, end: float) -> Float64Array:
    """Values from their lowest, which becomes ``start``, to their highest, which becomes ``end``."""
    low, high = float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))
    if not high > low:
        return np.full(len(values), (start + end) / 2)
    return start + (values - low) / (high - low) * (end - start)


def _axis(highest: float) -> tuple[float, float]:
    """The end of an axis from 0 that holds ``highest``, and a round step to it."""
    if highest <= 0:
        return 1.0, 0.25
    rough = highest / 4
    magnitude = 10.0 ** np.floor(np.log10(rough))
    step = float(magnitude * next(m for m in (1, 2, 2.5, 5, 10) if rough <= m * magnitude * (1 + 1e-9)))
    return step * float(np.ceil(highest / step - 1e-9)), step


def _round_numbers(shown: int) -> list[int]:
    """A few round numbers of components."""
    step = max(int(_axis(shown)[1]), 1)
    return sorted({1, *range(step, shown + 1, step)})


def _percent(value: float, step: float) -> str:
    """With as many decimals as tell the steps of an axis apart."""
    decimals = max(0, int(np.ceil(-np.log10(step * 100) - 1e-9)) + (step * 100 % 1 != 0 and step >= 0.01))
    return f"{value:.{decimals}%}"


def _rounded(value: float) -> float:
    return round(float(value), 1)
