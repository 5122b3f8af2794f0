"""How far a classifier's probabilities can be believed, and the temperature that corrects them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from verger.insight.arrays import BoolArray
from verger.insight.classification.evaluation import HeldOut
from verger.insight.model import softmax
from verger.insight.sample import stratified

MIN_PHOTOGRAPHS = 500
"""Held-out photographs below which nothing is calibrated."""
MAX_PHOTOGRAPHS = 10_000
"""Held-out photographs that are used, at most; of more, a sample by class tells as much."""
MAX_LOGITS = 3_000_000
"""Photographs times classes that are used, at most."""
N_BINS = 10


def calibrate(held_out: HeldOut) -> dict[str, Any] | None:
    """Measure the calibration error, and find the temperature by which logits are to be divided.

    The temperature minimises the log loss of the held-out photographs (Guo, Pleiss, Sun, Weinberger 2017).

    Parameters
    ----------
    held_out : HeldOut
        Predictions of the most honest split.

    Returns
    -------
    dict or None
        ``n`` photographs that were used; ``temperature``; the expected calibration error over ten bins of the highest
        probability, ``ece`` without and ``ece_calibrated`` with the temperature; ``bins`` and ``bins_calibrated`` of
        the same. None of fewer than `MIN_PHOTOGRAPHS`.
    """
    if len(held_out.rows) < MIN_PHOTOGRAPHS:
        return None
    number = max(MIN_PHOTOGRAPHS, min(MAX_PHOTOGRAPHS, MAX_LOGITS // held_out.probabilities.shape[1]))
    some = stratified(held_out.codes, number, np.random.default_rng(0).random(len(held_out.codes)))
    logits = np.log(np.maximum(held_out.probabilities[some], 1e-12, dtype=np.float64))
    rows, codes = np.arange(len(logits)), held_out.codes[some]

    def log_loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.mean(np.logaddexp.reduce(scaled, axis=1) - scaled[rows, codes]))

    found = minimize_scalar(log_loss, bounds=(-2.5, 2.5), method="bounded", options={"xatol": 0.01})
    temperature = float(np.exp(found.x))
    correct = logits.argmax(axis=1) == codes
    before = _bins(np.exp(logits.max(axis=1)), correct)
    after = _bins(softmax(logits / temperature).max(axis=1), correct)
    return {
        "n": len(logits),
        "temperature": round(temperature, 4),
        "ece": _expected_error(before),
        "ece_calibrated": _expected_error(after),
        "bins": before,
        "bins_calibrated": after,
    }


def _bins(confidence: npt.NDArray[np.floating], correct: BoolArray) -> list[dict[str, Any]]:
    """Bins of equal width that hold any photograph: how many, their mean confidence, and their accuracy."""
    bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    return [
        {
            "photographs": int((bins == number).sum()),
            "confidence": round(float(confidence[bins == number].mean()), 4),
            "accuracy": round(float(correct[bins == number].mean()), 4),
        }
        for number in np.unique(bins)
    ]


def _expected_error(bins: list[dict[str, Any]]) -> float:
    gap = sum(row["photographs"] * abs(row["confidence"] - row["accuracy"]) for row in bins)
    return round(float(gap / sum(row["photographs"] for row in bins)), 4)
