"""Varieties of fruit: the parts of which each is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from verger.photographs.drawing import Field, Part, View, mix, near, render


def _apple(view: View, skin: Field) -> Iterator[Part]:
    rho = view.polar([(-90, 24, -0.2), (90, 20, -0.08), (-40, 40, 0.04), (-140, 40, 0.04)]) / 0.97
    hollow = near(view.u, 0, 0.26) * near(view.v, -0.86, 0.2)
    yield Part(rho, mix(skin, (0.28, 0.24, 0.08), 0.75 * hollow), gloss=0.55)
    yield Part(view.rod([(0, -0.72), (0.03, -0.95), (0.1, -1.14)], 0.05), (0.35, 0.24, 0.12), gloss=0.1)


def _apple_red(view: View) -> Iterator[Part]:
    """Striped red over yellow."""
    stripes = 0.72 + 0.22 * view.noise(22, 1.5) + 0.25 * view.noise(3)
    skin = mix(view.jitter((0.9, 0.72, 0.3)), view.jitter((0.74, 0.06, 0.1)), stripes - near(view.v, -0.85, 0.3))
    yield from _apple(view, mix(skin, (0.96, 0.8, 0.55), 0.5 * view.dots(4, 0.022)))


def _apple_green(view: View) -> Iterator[Part]:
    """Green, with a paler cheek."""
    skin = mix(view.jitter((0.5, 0.73, 0.13)), view.jitter((0.75, 0.83, 0.32)), 0.4 + 0.4 * view.noise(2))
    yield from _apple(view, mix(skin, (0.9, 0.95, 0.65), 0.6 * view.dots(4.5, 0.02)))


def _banana(view: View) -> Iterator[Part]:
    """A crescent with ridges, freckles and dark ends."""
    across = np.hypot(view.u, view.v + 1.05) - 1.25
    along = np.arctan2(view.u, view.v + 1.05)
    half = 0.3 * (1 - 0.5 * (np.abs(along) / 0.95) ** 2.5).clip(0.1)
    rho = np.sqrt((across / half) ** 2 + (along / 0.98) ** 10)
    skin = mix(view.jitter((0.99, 0.83, 0.2)), (0.8, 0.78, 0.25), near(np.abs(along), 0.85, 0.14))
    skin = mix(skin, (0.8, 0.6, 0.1), 0.5 * near(across / half, 0.25, 0.1) + 0.3 * near(across / half, -0.45, 0.09))
    skin = mix(skin, (0.38, 0.24, 0.1), near(np.abs(along), 1.0, 0.07) + 0.65 * view.dots(3.5, 0.025))
    yield Part(rho, skin, gloss=0.2)


def _cherry(view: View) -> Iterator[Part]:
    """A pair on its stems."""
    for x, y, bend in ((-0.45, 0.38, -0.32), (0.47, 0.5, 0.3)):
        stem = view.rod([(0.05, -1.1), (bend * 0.6, -0.5), (x * 0.95, y - 0.32)], 0.045)
        yield Part(stem, (0.38, 0.5, 0.16), gloss=0.1)
        skin = mix(view.jitter((0.62, 0.03, 0.1)), (0.36, 0.0, 0.06), 0.4 + 0.5 * view.noise(2.5))
        skin = mix(skin, (0.2, 0.0, 0.03), near(view.ball(x, y - 0.4, 0.2), 0, 0.7))
        yield Part(view.ball(x, y, 0.47), skin, gloss=0.95)


def _grape(view: View) -> Iterator[Part]:
    """A bunch, each berry with its bloom."""
    yield Part(view.rod([(0, -0.6), (0.05, -1.15)], 0.06), (0.45, 0.5, 0.2), gloss=0.1)
    bloom = 0.3 + 0.3 * view.noise(5)
    rows = ((-0.55, 4), (-0.2, 3), (0.15, 4), (0.45, 3), (0.72, 2), (0.95, 1))
    for row, (y, berries) in enumerate(rows):
        for at in range(berries):
            x = (at - (berries - 1) / 2) * 0.42 + (0.03 if row % 2 else -0.03)
            skin = mix(view.jitter((0.27, 0.13, 0.42), 0.12), (0.55, 0.5, 0.72), bloom)
            yield Part(view.ball(x, y, 0.29), skin, gloss=0.55)


def _kiwi(view: View) -> Iterator[Part]:
    """Cut in half: rays, seeds and a pale core."""
    rho = np.hypot(view.u / 1.0, view.v / 0.88)
    theta = np.arctan2(view.v / 0.88, view.u)
    yield Part(rho, mix((0.45, 0.32, 0.15), (0.58, 0.44, 0.24), 0.5 + view.noise(25)), gloss=0.05, roundness=0.7)
    rays = 0.5 + 0.5 * np.cos(theta * 34 + view.noise(3))
    flesh = mix(view.jitter((0.45, 0.68, 0.12)), (0.68, 0.82, 0.32), 0.65 * rays * near(rho, 0.5, 0.25))
    flesh = mix(flesh, (0.93, 0.93, 0.7), near(rho, 0, 0.24))
    seeds = near(np.cos(theta * 17), 1, 0.25) * near(rho, 0.42 + 0.05 * np.cos(theta * 5), 0.07)
    yield Part(rho / 0.93, mix(flesh, (0.08, 0.06, 0.04), 1.6 * seeds), gloss=0.25, roundness=0.25)


def _lemon(view: View) -> Iterator[Part]:
    """An oval with a nipple at both ends."""
    across = np.hypot(view.u / 0.76, view.v / 0.92)
    tips = np.hypot(view.u / 0.2, (np.abs(view.v) - 0.86) / 0.22)
    rho = -np.log(np.exp(-7 * across) + np.exp(-7 * (tips * 0.45 + 0.55))) / 7
    skin = mix(view.jitter((0.99, 0.87, 0.16)), (0.85, 0.83, 0.2), near(np.abs(view.v), 1.05, 0.2))
    yield Part(rho, skin, gloss=0.4, relief=0.45 * view.noise(30, waves=14))


def _orange(view: View) -> Iterator[Part]:
    """Dimpled, with its button."""
    rho = view.polar([(0, 60, 0.02)]) / 0.98
    skin = mix(view.jitter((0.98, 0.55, 0.05)), (0.9, 0.42, 0.03), 0.5 + 0.4 * view.noise(2))
    skin = mix(skin, (0.75, 0.4, 0.03), 0.5 * view.dots(5.5, 0.02))
    yield Part(rho, skin, gloss=0.4, relief=view.noise(32, waves=14))
    yield Part(view.star(0.15, -0.5, 0.14, 5), (0.36, 0.45, 0.15), gloss=0.1, roundness=0.5)


def _peach(view: View) -> Iterator[Part]:
    """A velvet blush and a crease."""
    rho = view.polar([(-90, 16, -0.1), (90, 16, 0.05)]) / 0.98
    blush = 0.45 + 0.6 * view.u + 0.3 * view.noise(3)
    skin = mix(view.jitter((0.99, 0.76, 0.42)), view.jitter((0.85, 0.3, 0.25)), blush)
    crease = near(view.u, 0.12 * np.cos(view.v * 1.7), 0.05) * (view.v < 0.75)
    yield Part(rho, mix(skin, (0.62, 0.22, 0.16), 0.6 * crease), gloss=0.06, relief=0.1 * view.noise(45))


def _pear(view: View) -> Iterator[Part]:
    """Slim above, stout below, freckled."""
    down = np.clip((view.v + 1.1) / 1.25, 0, 1)
    half = 0.36 + 0.42 * down * down * (3 - 2 * down)
    rho = np.sqrt((view.u / half) ** 2 + np.abs(view.v / 1.03) ** 2.6)
    blush = 0.3 + 0.5 * view.u + 0.3 * view.noise(2)
    skin = mix(view.jitter((0.76, 0.76, 0.24)), view.jitter((0.88, 0.68, 0.26)), blush)
    yield Part(view.rod([(0, -0.92), (0.07, -1.12), (0.17, -1.24)], 0.05), (0.36, 0.26, 0.14), gloss=0.1)
    yield Part(rho, mix(skin, (0.5, 0.42, 0.14), 0.6 * view.dots(6, 0.018)), gloss=0.3)


def _plum(view: View) -> Iterator[Part]:
    """Dark, with a bloom and a crease."""
    rho = np.hypot(view.u / 0.8, view.v / 0.98)
    skin = mix(view.jitter((0.3, 0.09, 0.3)), (0.52, 0.42, 0.62), 0.25 + 0.35 * view.noise(3))
    crease = near(view.u, 0.22 * np.cos(view.v * 1.6), 0.045)
    yield Part(rho, mix(skin, (0.14, 0.03, 0.14), 0.7 * crease), gloss=0.4)
    yield Part(view.rod([(0.02, -0.9), (0.05, -1.1)], 0.04), (0.4, 0.35, 0.18), gloss=0.1)


def _strawberry(view: View) -> Iterator[Part]:
    """A red cone with seeds in rows, and its green collar."""
    down = np.clip((view.v + 0.8) / 1.8, 0, 1)
    half = 0.84 * np.sqrt(1 - down**1.7).clip(0.06)
    rho = np.sqrt((view.u / half) ** 2 * 0.97 + np.abs((view.v - 0.08) / 0.98) ** 4)
    across, along = view.u / half.clip(0.25), view.v
    row = np.cos(across * 9) * np.cos(along * 11) + 0.04 * view.noise(4)
    seeds = np.clip((row - 0.72) * 5, 0, 1)
    skin = mix(view.jitter((0.88, 0.08, 0.1)), (0.95, 0.5, 0.35), near(view.v, -0.85, 0.22))
    yield Part(rho, mix(skin, (0.95, 0.8, 0.35), 0.9 * seeds), gloss=0.6, relief=1.2 * row)
    yield Part(view.star(0, -0.78, 0.62, 7), mix((0.25, 0.5, 0.13), (0.42, 0.66, 0.22), 0.5 + view.noise(6)), gloss=0.2)
    yield Part(view.rod([(0, -0.82), (0.08, -1.12)], 0.045), (0.4, 0.6, 0.22), gloss=0.1)


def _tomato(view: View) -> Iterator[Part]:
    """Glossy and a little flat, with a star on top."""
    rho = (np.abs(view.u / 1.02) ** 2.3 + np.abs(view.v / 0.88) ** 2.3) ** (1 / 2.3)
    shoulders = 0.6 * near(view.v, -0.7, 0.35) + 0.15 * view.noise(2)
    yield Part(rho, mix(view.jitter((0.87, 0.12, 0.06)), (0.95, 0.42, 0.12), shoulders), gloss=0.85)
    leaves = mix((0.2, 0.42, 0.1), (0.36, 0.58, 0.16), 0.5 + view.noise(8))
    yield Part(view.star(0.02, -0.52, 0.5, 5), leaves, gloss=0.15)
    yield Part(view.rod([(0.02, -0.54), (0.06, -0.86)], 0.06), (0.3, 0.48, 0.14), gloss=0.1)


VARIETIES: dict[str, Callable[[View], Iterator[Part]]] = {
    "Apple Green 1": _apple_green,
    "Apple Red 1": _apple_red,
    "Banana 1": _banana,
    "Cherry 1": _cherry,
    "Grape Blue 1": _grape,
    "Kiwi 1": _kiwi,
    "Lemon 1": _lemon,
    "Orange 1": _orange,
    "Peach 1": _peach,
    "Pear 1": _pear,
    "Plum 1": _plum,
    "Strawberry 1": _strawberry,
    "Tomato 1": _tomato,
}
"""What can be drawn: by variety, a function that gives its parts from back to front."""


def photograph(variety: str, angle: float, width: int, height: int, rng: np.random.Generator) -> tuple[Field, Field]:
    """Draw one fruit on a nearly white background, with a soft shadow.

    Parameters
    ----------
    variety : str
        A key of `VARIETIES`.
    angle : float
        Degrees by which the fruit is turned. The light does not turn.
    width, height : int
        Of the picture, pixels.
    rng : numpy.random.Generator
        Makes each fruit of a variety a little different.

    Returns
    -------
    rgb : float64 array (height, width, 3)
        0 to 1.
    mask : float64 array (height, width)
        How much of each pixel the fruit covers, 0 to 1.
    """
    return render(VARIETIES[variety], angle, width, height, rng)
