"""Geometry of the page's charts: numbers for inline SVG; its colours are the style sheet's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from verger.insight.names import cut, natural

SCREE = (400, 240)
SCATTER = (720, 560)
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 14, 30
MAX_SHOWN = 200
"""Components in the scree plot."""


def scree(shares: Sequence[float], chosen: int) -> dict[str, Any]:
    """Variance by component, and what they keep together.

    Parameters
    ----------
    shares : sequence of float
        Of the total variance, by falling size; those beyond the chosen components too, where they are known.
    chosen : int
        Number of components that the run keeps.
    """
    shown = min(len(shares), max(2 * chosen, chosen + 8), max(MAX_SHOWN, chosen))
    values = np.asarray(shares[:shown], dtype=float)
    total = np.cumsum(values)
    width, height = SCREE
    inner, bottom = width - _LEFT - _RIGHT, height - _BOTTOM
    top, step = _nice(float(values.max(initial=0.0)))
    slot = inner / max(shown, 1)
    tall = bottom - _TOP
    marker = _LEFT + slot * max(chosen - 0.5, 0)
    return {
        "width": width,
        "height": height,
        "left": _LEFT,
        "right": width - _RIGHT,
        "top": _TOP,
        "bottom": bottom,
        "shown": shown,
        "chosen": chosen,
        "kept": float(total[chosen - 1]) if chosen and shown else 0.0,
        "bars": [
            {
                "x": _r(_LEFT + slot * (i + 0.09)),
                "y": _r(bottom - tall * v / top),
                "w": _r(max(slot * 0.82, 0.6)),
                "h": _r(tall * v / top),
                "in": i < chosen,
            }
            for i, v in enumerate(values)
        ],
        "steps": [
            {"y": _r(bottom - tall * at / top), "text": _percent(at, step)} for at in np.arange(0, top + step / 2, step)
        ],
        "shares": [{"y": _r(bottom - tall * share), "text": f"{share:.0%}"} for share in (0, 0.25, 0.5, 0.75, 1)],
        "line": " ".join(
            f"{_r(_LEFT + slot * (i + 0.5))},{_r(bottom - tall * min(v, 1.0))}" for i, v in enumerate(total)
        ),
        "marker": _r(marker),
        "marker_y": _r(bottom - tall * min(float(total[chosen - 1]) if chosen and shown else 0.0, 1.0)),
        "marker_end": marker > width * 0.6,
        "ticks": [{"x": _r(_LEFT + slot * (number - 0.5)), "text": number} for number in _counts(shown)],
    }


def scatter(
    points: npt.NDArray[np.floating],
    labels: npt.NDArray[np.str_],
    shares: Sequence[float],
    classes: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The first two components; with one alone, the height tells photographs apart and means nothing.

    Parameters
    ----------
    points : ndarray, shape (n, k)
    labels : ndarray of str, shape (n,)
        What can be picked.
    shares : sequence of float
        Of the variance, by component.
    classes : dict, optional
        What colours a label; default: the label itself.
    """
    single = points.shape[1] < 2
    x = points[:, 0].astype(float)
    y = np.random.default_rng(0).uniform(-1, 1, len(x)) if single else points[:, 1].astype(float)
    width, height = SCATTER
    across, down = _scale(x, 14, width - 14), _scale(y, height - 34, 14)
    names = sorted(set(labels.tolist()), key=natural)
    coloured = sorted({classes[name] for name in names}, key=natural) if classes else names
    few = len(coloured) <= len(_FEW)
    hues = {name: _FEW[number] if few else _r(360 * number / len(coloured)) for number, name in enumerate(coloured)}
    groups = [
        {
            "name": name,
            "hue": hues[classes[name] if classes else name],
            "points": [{"x": _r(across[i]), "y": _r(down[i]), "i": int(i)} for i in np.flatnonzero(labels == name)],
        }
        for name in names
    ]
    second = "no meaning, only apart" if single else "Component 2" + _share(shares, 1)
    return {
        "width": width,
        "height": height,
        "groups": groups,
        "axes": ["Component 1" + _share(shares, 0), second],
        "few": few,
        "classes": coloured,
    }


def matrix(names: Sequence[str], counts: Sequence[Sequence[int]]) -> dict[str, Any]:
    """A confusion matrix of many classes: a shaded square where there is anything."""
    cell, margin = 10, 96
    table = np.asarray(counts)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    short = [cut(name, _FITTING) for name in names]
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


_FITTING = 20  # columns of text in a matrix' margin

# Hues that stand apart also for most who see colours otherwise, in this order.
_FEW = (150, 255, 30, 330, 90, 210, 300)


def reliability(calibration: dict[str, Any]) -> dict[str, Any]:
    """How often the classifier is right, by how sure it is: the diagonal is what its probabilities promise."""
    dots = [
        {"x": _r(44 + 344 * row["confidence"]), "y": _r(270 - 256 * row["accuracy"])}
        for row in calibration["bins_calibrated"]
    ]
    return {
        "steps": [{"x": 44 + 344 * at, "y": 270 - 256 * at, "text": f"{at:.0%}"} for at in (0, 0.25, 0.5, 0.75, 1)],
        "dots": dots,
        "line": " ".join(f"{dot['x']},{dot['y']}" for dot in dots),
        "says": f"Right (upwards) by how sure it is (across), {calibration['n']:,} photographs held out, after a "
        f"temperature of {calibration['temperature']:.2f}; mean error {calibration['ece_calibrated']:.1%}, "
        f"{calibration['ece']:.1%} without it; the temperature was set on these photographs, so that its error is "
        "flattered",
    }


def _share(shares: Sequence[float], number: int) -> str:
    return f" · {shares[number]:.1%} of the variance" if number < len(shares) else ""


def _scale(values: npt.NDArray[np.float64], start: float, end: float) -> npt.NDArray[np.float64]:
    low, high = float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))
    if not high > low:
        return np.full(len(values), (start + end) / 2)
    return start + (values - low) / (high - low) * (end - start)


def _nice(highest: float) -> tuple[float, float]:
    """The end of an axis from 0 that holds ``highest``, and a round step to it."""
    if highest <= 0:
        return 1.0, 0.25
    rough = highest / 4
    size = 10.0 ** np.floor(np.log10(rough))
    step = float(size * next(m for m in (1, 2, 2.5, 5, 10) if rough <= m * size * (1 + 1e-9)))
    return step * float(np.ceil(highest / step - 1e-9)), step


def _counts(shown: int) -> list[int]:
    """A few round numbers of components."""
    step = max(int(_nice(shown)[1]), 1)
    return sorted({1, *range(step, shown + 1, step)})


def _percent(value: float, step: float) -> str:
    """As many decimals as tell the steps of an axis apart."""
    decimals = max(0, int(np.ceil(-np.log10(step * 100) - 1e-9)) + (step * 100 % 1 != 0 and step >= 0.01))
    return f"{value:.{decimals}%}"


def _r(value: float) -> float:
    return round(float(value), 1)
