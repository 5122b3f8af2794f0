"""Colours of dots in sRGB."""

from __future__ import annotations

import re

import pytest

from verger.insight.report import colours
from verger.insight.report.templating import read


# What CSS Color 4 and browsers give for oklch(lightness chroma hue).
@pytest.mark.parametrize(
    ("oklch", "srgb"),
    [
        ((1.0, 0.0, 0.0), "#ffffff"),
        ((0.62796, 0.25768, 29.234), "#ff0000"),
        ((0.86644, 0.29483, 142.495), "#00ff00"),
        ((0.45201, 0.31321, 264.052), "#0000ff"),
        ((0.401, 0.123, 21.57), "#7d2429"),
    ],
)
def test_colours_are_those_of_browsers(oklch: tuple[float, float, float], srgb: str) -> None:
    lightness, chroma, hue = oklch
    made = bytes.fromhex(colours.dot_colour(hue, lightness, chroma)[1:])
    assert all(abs(a - b) <= 1 for a, b in zip(made, bytes.fromhex(srgb[1:]), strict=True))


def test_dots_have_the_lightness_and_chroma_of_the_style_sheet() -> None:
    light = read("style.css").partition("@media")[0]
    found = re.search(r"--dot-l: ([\d.]+); --dot-c: ([\d.]+);", light)
    assert found and (float(found[1]), float(found[2])) == (colours.LIGHTNESS, colours.CHROMA)
