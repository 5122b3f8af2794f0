"""Fruit, drawn: shapes, colours and light, with numpy alone.

A fruit is a list of parts, painted one over the other. A part is a field ``rho`` over the picture, 0 in its
middle and 1 at its rim; it is taken for a rounded body, which gives the direction of its surface at every pixel
and so its light and shade.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Field = NDArray[Any]
Colour = Field | tuple[float, float, float]

_LIGHT = np.array([-0.5, -0.62, 0.6])  # from the upper left, towards the viewer


@dataclass(frozen=True)
class Part:
    """One body: its shape, its colour (0 to 1), how it shines, how rough it is, how round it stands out."""

    rho: Field
    colour: Colour
    gloss: float = 0.4
    relief: Field | None = None
    roundness: float = 1.0


class View:
    """What a fruit is drawn in: coordinates turned with the fruit, and its own randomness.

    Attributes
    ----------
    u, v : arrays (height, width)
        To the right of the fruit and towards its bottom; the fruit fills about -1 to 1.
    """

    def __init__(self, width: int, height: int, angle: float, rng: np.random.Generator) -> None:
        y, x = np.mgrid[0:height, 0:width].astype(np.float32) + np.float32(0.5)
        scale = float(0.39 * min(width, height) * rng.uniform(0.94, 1.04))
        x, y = (x - width / 2) / scale, (y - height / 2) / scale
        turn = math.radians(angle)
        self.u: Field = x * math.cos(turn) + y * math.sin(turn)
        self.v: Field = y * math.cos(turn) - x * math.sin(turn)
        self._rng = rng

    def noise(self, across: float, along: float | None = None, waves: int = 9) -> Field:
        """Smooth noise about 0, of so many ripples a unit across (and along) the fruit, mostly within -1 to 1."""
        along = across if along is None else along
        total = np.zeros_like(self.u)
        for direction, phase in self._rng.uniform(0, 2 * math.pi, (waves, 2)).tolist():
            total += np.cos(across * math.cos(direction) * self.u + along * math.sin(direction) * self.v + phase)
        return total / math.sqrt(waves)

    def dots(self, density: float, radius: float) -> Field:
        """Spots (1 in their middles, 0 elsewhere), about so many a unit of length: one at random in each cell."""
        at = self._rng.uniform(0.2, 0.8, (2, 16, 16))
        column, row = np.floor(self.u * density).astype(int), np.floor(self.v * density).astype(int)
        x, y = at[:, row % 16, column % 16]
        away: Field = np.hypot(self.u * density - column - x, self.v * density - row - y) / density
        return (1.5 - away / radius).clip(0, 1)

    def jitter(self, colour: Colour, by: float = 0.025) -> Colour:
        """Nearly the same colour, differently every time."""
        return np.asarray(colour) * (1 + self._rng.normal(0, by, 3))

    def ball(self, x: float, y: float, radius: float) -> Field:
        """A sphere."""
        return np.hypot(self.u - x, self.v - y) / radius

    def rod(self, points: Sequence[tuple[float, float]], thickness: float) -> Field:
        """A line through points, as thick as that: stems."""
        nearest = np.full_like(self.u, np.inf)
        for (x0, y0), (x1, y1) in pairwise(points):
            dx, dy = x1 - x0, y1 - y0
            along = np.clip(((self.u - x0) * dx + (self.v - y0) * dy) / (dx * dx + dy * dy), 0, 1)
            np.minimum(nearest, np.hypot(self.u - x0 - along * dx, self.v - y0 - along * dy), out=nearest)
        return nearest / thickness

    def polar(self, bumps: Sequence[tuple[float, float, float]], x: float = 0.0, y: float = 0.0) -> Field:
        """A disc whose radius is raised about some directions: (direction, width, height) of each bump, degrees."""
        theta = np.rad2deg(np.arctan2(self.v - y, self.u - x))
        radius = np.ones_like(self.u)
        for direction, width, height in bumps:
            away = (theta - direction + 180) % 360 - 180
            radius += height * np.exp(-((away / width) ** 2))
        return np.hypot(self.u - x, self.v - y) / radius

    def star(self, x: float, y: float, radius: float, points: int) -> Field:
        """A star of pointed leaves: the crown of a tomato."""
        theta = np.arctan2(self.v - y, self.u - x)
        reach = radius * (0.28 + 0.72 * np.abs(np.cos(theta * points / 2)) ** 3)
        return np.hypot(self.u - x, self.v - y) / reach


def mix(first: Colour, second: Colour, share: Field) -> Field:
    """From the first colour (share 0) to the second (share 1)."""
    share = share.clip(0, 1)[..., None]
    mixed: Field = np.asarray(first) * (1 - share) + np.asarray(second) * share
    return mixed


def near(field: Field, where: Field | float, width: float) -> Field:
    """1 where ``field`` is ``where``, falling to 0 within a few widths."""
    return np.exp(-(((field - where) / width) ** 2))


def _apple(view: View, skin: Field) -> Iterator[Part]:
    rho = view.polar([(-90, 24, -0.2), (90, 20, -0.08), (-40, 40, 0.04), (-140, 40, 0.04)]) / 0.97
    hollow = near(view.u, 0, 0.26) * near(view.v, -0.86, 0.2)
    yield Part(rho, mix(skin, (0.28, 0.24, 0.08), 0.75 * hollow), gloss=0.55)
    yield Part(view.rod([(0, -0.72), (0.03, -0.95), (0.1, -1.14)], 0.05), (0.35, 0.24, 0.12), gloss=0.1)


def apple_red(view: View) -> Iterator[Part]:
    """Striped red over yellow."""
    stripes = 0.72 + 0.22 * view.noise(22, 1.5) + 0.25 * view.noise(3)
    skin = mix(view.jitter((0.9, 0.72, 0.3)), view.jitter((0.74, 0.06, 0.1)), stripes - near(view.v, -0.85, 0.3))
    yield from _apple(view, mix(skin, (0.96, 0.8, 0.55), 0.5 * view.dots(4, 0.022)))


def apple_green(view: View) -> Iterator[Part]:
    """Green, with a paler cheek."""
    skin = mix(view.jitter((0.5, 0.73, 0.13)), view.jitter((0.75, 0.83, 0.32)), 0.4 + 0.4 * view.noise(2))
    yield from _apple(view, mix(skin, (0.9, 0.95, 0.65), 0.6 * view.dots(4.5, 0.02)))


def banana(view: View) -> Iterator[Part]:
    """A crescent with ridges, freckles and dark ends."""
    across = np.hypot(view.u, view.v + 1.05) - 1.25
    along = np.arctan2(view.u, view.v + 1.05)
    half = 0.3 * (1 - 0.5 * (np.abs(along) / 0.95) ** 2.5).clip(0.1)
    rho = np.sqrt((across / half) ** 2 + (along / 0.98) ** 10)
    skin = mix(view.jitter((0.99, 0.83, 0.2)), (0.8, 0.78, 0.25), near(np.abs(along), 0.85, 0.14))
    skin = mix(skin, (0.8, 0.6, 0.1), 0.5 * near(across / half, 0.25, 0.1) + 0.3 * near(across / half, -0.45, 0.09))
    skin = mix(skin, (0.38, 0.24, 0.1), near(np.abs(along), 1.0, 0.07) + 0.65 * view.dots(3.5, 0.025))
    yield Part(rho, skin, gloss=0.2)


def cherry(view: View) -> Iterator[Part]:
    """A pair on its stems."""
    for x, y, bend in ((-0.45, 0.38, -0.32), (0.47, 0.5, 0.3)):
        stem = view.rod([(0.05, -1.1), (bend * 0.6, -0.5), (x * 0.95, y - 0.32)], 0.045)
        yield Part(stem, (0.38, 0.5, 0.16), gloss=0.1)
        skin = mix(view.jitter((0.62, 0.03, 0.1)), (0.36, 0.0, 0.06), 0.4 + 0.5 * view.noise(2.5))
        skin = mix(skin, (0.2, 0.0, 0.03), near(view.ball(x, y - 0.4, 0.2), 0, 0.7))
        yield Part(view.ball(x, y, 0.47), skin, gloss=0.95)


def grape(view: View) -> Iterator[Part]:
    """A bunch, each berry with its bloom."""
    yield Part(view.rod([(0, -0.6), (0.05, -1.15)], 0.06), (0.45, 0.5, 0.2), gloss=0.1)
    bloom = 0.3 + 0.3 * view.noise(5)
    rows = ((-0.55, 4), (-0.2, 3), (0.15, 4), (0.45, 3), (0.72, 2), (0.95, 1))
    for row, (y, berries) in enumerate(rows):
        for at in range(berries):
            x = (at - (berries - 1) / 2) * 0.42 + (0.03 if row % 2 else -0.03)
            skin = mix(view.jitter((0.27, 0.13, 0.42), 0.12), (0.55, 0.5, 0.72), bloom)
            yield Part(view.ball(x, y, 0.29), skin, gloss=0.55)


def kiwi(view: View) -> Iterator[Part]:
    """Cut in half: rays, seeds and a pale core."""
    rho = np.hypot(view.u / 1.0, view.v / 0.88)
    theta = np.arctan2(view.v / 0.88, view.u)
    yield Part(rho, mix((0.45, 0.32, 0.15), (0.58, 0.44, 0.24), 0.5 + view.noise(25)), gloss=0.05, roundness=0.7)
    rays = 0.5 + 0.5 * np.cos(theta * 34 + view.noise(3))
    flesh = mix(view.jitter((0.45, 0.68, 0.12)), (0.68, 0.82, 0.32), 0.65 * rays * near(rho, 0.5, 0.25))
    flesh = mix(flesh, (0.93, 0.93, 0.7), near(rho, 0, 0.24))
    seeds = near(np.cos(theta * 17), 1, 0.25) * near(rho, 0.42 + 0.05 * np.cos(theta * 5), 0.07)
    yield Part(rho / 0.93, mix(flesh, (0.08, 0.06, 0.04), 1.6 * seeds), gloss=0.25, roundness=0.25)


def lemon(view: View) -> Iterator[Part]:
    """An oval with a nipple at both ends."""
    across = np.hypot(view.u / 0.76, view.v / 0.92)
    tips = np.hypot(view.u / 0.2, (np.abs(view.v) - 0.86) / 0.22)
    rho = -np.log(np.exp(-7 * across) + np.exp(-7 * (tips * 0.45 + 0.55))) / 7
    skin = mix(view.jitter((0.99, 0.87, 0.16)), (0.85, 0.83, 0.2), near(np.abs(view.v), 1.05, 0.2))
    yield Part(rho, skin, gloss=0.4, relief=0.45 * view.noise(30, waves=14))


def orange(view: View) -> Iterator[Part]:
    """Dimpled, with its button."""
    rho = view.polar([(0, 60, 0.02)]) / 0.98
    skin = mix(view.jitter((0.98, 0.55, 0.05)), (0.9, 0.42, 0.03), 0.5 + 0.4 * view.noise(2))
    skin = mix(skin, (0.75, 0.4, 0.03), 0.5 * view.dots(5.5, 0.02))
    yield Part(rho, skin, gloss=0.4, relief=view.noise(32, waves=14))
    yield Part(view.star(0.15, -0.5, 0.14, 5), (0.36, 0.45, 0.15), gloss=0.1, roundness=0.5)


def peach(view: View) -> Iterator[Part]:
    """A velvet blush and a crease."""
    rho = view.polar([(-90, 16, -0.1), (90, 16, 0.05)]) / 0.98
    blush = 0.45 + 0.6 * view.u + 0.3 * view.noise(3)
    skin = mix(view.jitter((0.99, 0.76, 0.42)), view.jitter((0.85, 0.3, 0.25)), blush)
    crease = near(view.u, 0.12 * np.cos(view.v * 1.7), 0.05) * (view.v < 0.75)
    yield Part(rho, mix(skin, (0.62, 0.22, 0.16), 0.6 * crease), gloss=0.06, relief=0.1 * view.noise(45))


def pear(view: View) -> Iterator[Part]:
    """Slim above, stout below, freckled."""
    down = np.clip((view.v + 1.1) / 1.25, 0, 1)
    half = 0.36 + 0.42 * down * down * (3 - 2 * down)
    rho = np.sqrt((view.u / half) ** 2 + np.abs(view.v / 1.03) ** 2.6)
    blush = 0.3 + 0.5 * view.u + 0.3 * view.noise(2)
    skin = mix(view.jitter((0.76, 0.76, 0.24)), view.jitter((0.88, 0.68, 0.26)), blush)
    yield Part(view.rod([(0, -0.92), (0.07, -1.12), (0.17, -1.24)], 0.05), (0.36, 0.26, 0.14), gloss=0.1)
    yield Part(rho, mix(skin, (0.5, 0.42, 0.14), 0.6 * view.dots(6, 0.018)), gloss=0.3)


def plum(view: View) -> Iterator[Part]:
    """Dark, with a bloom and a crease."""
    rho = np.hypot(view.u / 0.8, view.v / 0.98)
    skin = mix(view.jitter((0.3, 0.09, 0.3)), (0.52, 0.42, 0.62), 0.25 + 0.35 * view.noise(3))
    crease = near(view.u, 0.22 * np.cos(view.v * 1.6), 0.045)
    yield Part(rho, mix(skin, (0.14, 0.03, 0.14), 0.7 * crease), gloss=0.4)
    yield Part(view.rod([(0.02, -0.9), (0.05, -1.1)], 0.04), (0.4, 0.35, 0.18), gloss=0.1)


def strawberry(view: View) -> Iterator[Part]:
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


def tomato(view: View) -> Iterator[Part]:
    """Glossy and a little flat, with a star on top."""
    rho = (np.abs(view.u / 1.02) ** 2.3 + np.abs(view.v / 0.88) ** 2.3) ** (1 / 2.3)
    shoulders = 0.6 * near(view.v, -0.7, 0.35) + 0.15 * view.noise(2)
    yield Part(rho, mix(view.jitter((0.87, 0.12, 0.06)), (0.95, 0.42, 0.12), shoulders), gloss=0.85)
    leaves = mix((0.2, 0.42, 0.1), (0.36, 0.58, 0.16), 0.5 + view.noise(8))
    yield Part(view.star(0.02, -0.52, 0.5, 5), leaves, gloss=0.15)
    yield Part(view.rod([(0.02, -0.54), (0.06, -0.86)], 0.06), (0.3, 0.48, 0.14), gloss=0.1)


VARIETIES: dict[str, Callable[[View], Iterator[Part]]] = {
    "Apple Green 1": apple_green,
    "Apple Red 1": apple_red,
    "Banana 1": banana,
    "Cherry 1": cherry,
    "Grape Blue 1": grape,
    "Kiwi 1": kiwi,
    "Lemon 1": lemon,
    "Orange 1": orange,
    "Peach 1": peach,
    "Pear 1": pear,
    "Plum 1": plum,
    "Strawberry 1": strawberry,
    "Tomato 1": tomato,
}
"""What can be drawn: the parts of each variety, the hindmost first."""


def photograph(variety: str, angle: float, width: int, height: int, rng: np.random.Generator) -> tuple[Field, Field]:
    """Draw one fruit on a nearly white ground, with a soft shadow.

    Parameters
    ----------
    variety : str
        One of VARIETIES.
    angle : float
        Degrees by which the fruit is turned; the light stays where it is.
    width, height : int
        Pixels.
    rng : numpy.random.Generator
        What makes this fruit differ from its sisters.

    Returns
    -------
    rgb : array (height, width, 3)
        0 to 1.
    cover : array (height, width)
        Share of each pixel that the fruit covers.
    """
    light = _LIGHT + rng.normal(0, 0.05, 3)
    light /= np.linalg.norm(light)
    paint = np.zeros((height, width, 3))
    cover = np.zeros((height, width))
    for part in VARIETIES[variety](View(width, height, angle, rng)):
        box = _box(part.rho)
        shaded, over = _shade(part, box, light)
        paint[box] += over[..., None] * (shaded - paint[box])
        cover[box] = np.maximum(cover[box], over)
    ground = np.array([0.995, 0.99, 0.98]) - 0.3 * _shadow(cover)[..., None] * np.array([0.9, 1.0, 1.1])
    rgb = ground + cover[..., None] * (paint - ground) + rng.normal(0, 0.006, (height, width, 3))
    return np.clip(rgb, 0, 1), cover


def _box(rho: Field) -> tuple[slice, slice]:
    """The rows and columns in which a part is seen, and a margin for the slopes."""
    inside = rho < 1.0
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return slice(max(rows[0] - 2, 0), rows[-1] + 3), slice(max(columns[0] - 2, 0), columns[-1] + 3)


def _shade(part: Part, box: tuple[slice, slice], light: Field) -> tuple[Field, Field]:
    """The colours of a part under the light, and the share of each pixel that it covers."""
    rho = part.rho[box]
    down, right = np.gradient(rho)
    slope = np.hypot(right, down) + 1e-9
    over = np.clip((1 - rho) / np.minimum(slope, 0.7) + 0.5, 0, 1)
    lean = part.roundness * np.clip(rho, 0, 1) / slope
    if part.relief is not None:
        rough_down, rough_right = np.gradient(part.relief[box])
        right, down = right + 0.35 * rough_right * slope, down + 0.35 * rough_down * slope
    x, y = right * lean, down * lean
    z = np.sqrt(np.clip(1 - x * x - y * y, 0.02, 1))
    lit = np.clip(x * light[0] + y * light[1] + z * light[2], 0, 1)
    half = light + np.array([0, 0, 1])
    half /= np.linalg.norm(half)
    mirror = np.clip(x * half[0] + y * half[1] + z * half[2], 0, 1)
    shine = part.gloss * (0.75 * mirror**60 + 0.22 * mirror**12)
    bounce = 0.12 * (1 - z) ** 2 * np.clip(y, 0, 1)  # light thrown back by the table
    brightness = (0.38 + 0.72 * lit + bounce)[..., None]
    colour = np.broadcast_to(part.colour, (*part.rho.shape, 3))[box].clip(0, 1)
    richer = colour ** (1.45 - 0.45 * brightness.clip(0, 1))  # as colours are in the shade
    return richer * brightness + shine[..., None], over


def _shadow(cover: Field) -> Field:
    """Darkness of the table: the outline, moved away from the light and blurred."""
    height, width = cover.shape
    reach = min(height, width)
    outline = Image.fromarray((cover * 255).astype(np.uint8))
    moved = Image.new("L", outline.size)
    moved.paste(outline, (round(0.05 * reach), round(0.07 * reach)))
    return np.asarray(moved.filter(ImageFilter.GaussianBlur(0.055 * reach))) / 255.0
