"""How far a classifier's probabilities can be believed, and the temperature that mends them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from verger.insight.classification.evaluation import HeldOut
from verger.insight.model import softmax
from verger.insight.sample import stratified

CALIBRATED_FROM = 500
"""HeldOut-out photographs below which a calibration says little."""
CALIBRATED_ON = 10_000
"""HeldOut-out photographs beyond which a sample by class tells as much."""
CALIBRATED_LOGITS = 3_000_000
"""The same times classes."""
BINS = 10


def calibrate(held: HeldOut) -> dict[str, Any] | None:
    """How far the probabilities can be believed, and the temperature that mends them; None of few photographs.

    ``ece`` is the expected calibration error over ten bins of the highest probability, before and after its logits are
    divided by the temperature, the one number that gives the held-out photographs the least log loss.
    """
    if len(held.rows) < CALIBRATED_FROM:
        return None
    number = max(CALIBRATED_FROM, min(CALIBRATED_ON, CALIBRATED_LOGITS // held.probability.shape[1]))
    some = stratified(held.codes, number, np.random.default_rng(0).random(len(held.codes)))
    logits = np.log(np.maximum(held.probability[some], 1e-12, dtype=np.float64))
    rows, codes = np.arange(len(logits)), held.codes[some]

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.mean(np.logaddexp.reduce(scaled, axis=1) - scaled[rows, codes]))

    temperature = float(np.exp(minimize_scalar(loss, bounds=(-2.5, 2.5), method="bounded", options={"xatol": 0.01}).x))
    right = logits.argmax(axis=1) == codes
    before = _bins(np.exp(logits.max(axis=1)), right)
    after = _bins(softmax(logits / temperature).max(axis=1), right)
    return {
        "n": len(logits),
        "temperature": round(temperature, 4),
        "ece": _ece(before),
        "ece_calibrated": _ece(after),
        "bins": before,
        "bins_calibrated": after,
    }


def _bins(confidence: npt.NDArray[np.floating], right: npt.NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Bins of equal width that hold any photograph: how many, how sure, how often right."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [
        {
            "photographs": int((bins == number).sum()),
            "confidence": round(float(confidence[bins == number].mean()), 4),
            "accuracy": round(float(right[bins == number].mean()), 4),
        }
        for number in np.unique(bins)
    ]


def _ece(bins: list[dict[str, Any]]) -> float:
    gap = sum(row["photographs"] * abs(row["confidence"] - row["accuracy"]) for row in bins)
    return round(float(gap / sum(row["photographs"] for row in bins)), 4)
