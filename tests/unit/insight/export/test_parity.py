"""Photographs that an exported model is tried on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from verger.insight.export import parity


@pytest.mark.parametrize("size", [8, 96, 300])
def test_drawings_differ_from_one_another_and_are_reproducible(size: int) -> None:
    network = SimpleNamespace(input_size=size, resample="bicubic", fit="stretch", decode="full")
    drawn = parity._drawings(network, 3)  # type: ignore[arg-type]
    assert drawn.pixels.shape == (parity.N_DRAWN, size, size, 3) and len(drawn) >= 20
    assert (drawn.asked, drawn.photographs, drawn.is_drawn) == (0, 0, True)
    assert len({pixels.tobytes() for pixels in drawn.pixels}) == parity.N_DRAWN
    np.testing.assert_array_equal(parity._drawings(network, 3).pixels, drawn.pixels)  # type: ignore[arg-type]
