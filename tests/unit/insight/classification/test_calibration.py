"""Temperature and calibration error of probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from tests.insight import held_out
from verger.insight.classification import calibration
from verger.insight.classification.calibration import calibrate
from verger.insight.classification.evaluation import HeldOut
from verger.insight.model import softmax


class TestCalibration:
    def overconfident(self, n: int = 3000) -> HeldOut:
        """Twice the logits that would be right."""
        random = np.random.default_rng(0)
        logits = 2 * random.normal(size=(n, 3))
        right = softmax(logits)
        drawn = (random.random(n)[:, None] > right.cumsum(axis=1)).sum(axis=1)
        return held_out([int(code) for code in drawn], softmax(2 * logits))

    def test_the_temperature_reduces_the_calibration_error(self) -> None:
        found = calibrate(self.overconfident())
        assert found is not None
        assert found["temperature"] == pytest.approx(2, rel=0.1)
        assert found["ece"] > 0.08 > 0.03 > found["ece_calibrated"]
        assert sum(row["photographs"] for row in found["bins"]) == found["n"] == 3000

    def test_many_classes_are_calibrated_on_fewer_photographs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(calibration, "MAX_LOGITS", 3 * 1000)
        found = calibrate(self.overconfident())
        assert found is not None and (found["n"], found["temperature"]) == (1000, pytest.approx(2, rel=0.2))
        monkeypatch.setattr(calibration, "MAX_LOGITS", 3)
        found = calibrate(self.overconfident())
        assert found is not None and found["n"] == calibration.MIN_PHOTOGRAPHS

    def test_few_photographs_are_not_calibrated(self) -> None:
        assert calibrate(self.overconfident(499)) is None
        assert calibrate(self.overconfident(500)) is not None
