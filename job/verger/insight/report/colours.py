"""Colours of dots in sRGB. The page has them in OKLCH, which resvg and browsers from before 2023 do not support."""

from __future__ import annotations

import math

import numpy as np

LIGHTNESS, CHROMA = 0.56, 0.14
"""Of all dots, in OKLCH, as the page's light colours in style.css have them."""

_CUBE_ROOTS_OF_AB = np.array(
    [[0.3963377774, 0.2158037573], [-0.1055613458, -0.0638541728], [-0.0894841775, -1.291485548]]
)
_LINEAR_RGB_OF_LMS = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.707614701],
    ]
)


def dot_colour(hue: float, lightness: float = LIGHTNESS, chroma: float = CHROMA) -> str:
    """A colour of OKLCH in sRGB.

    Parameters
    ----------
    hue : float
        In degrees.
    lightness : float
        From 0 to 1.
    chroma : float
        From 0; sRGB has none above 0.33.

    Returns
    -------
    str
        ``#rrggbb``. Channels outside sRGB are clipped.

    References
    ----------
    Björn Ottosson, A perceptual color space for image processing, 2020, https://bottosson.github.io/posts/oklab/
    """
    angle = math.radians(hue)
    lms = (lightness + _CUBE_ROOTS_OF_AB @ (chroma * math.cos(angle), chroma * math.sin(angle))) ** 3
    linear = np.clip(_LINEAR_RGB_OF_LMS @ lms, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(255 * value):02x}" for value in encoded)
