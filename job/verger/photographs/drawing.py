"""Pictures of rounded bodies: shapes, colours and light, made with NumPy and Pillow.

A fruit is a list of parts, painted one over the other. A part is described by a field ``rho`` over the picture:
0 in the middle of the part and 1 at its rim. The part is taken as a rounded body. So ``rho`` gives the direction of
the surface at every pixel, and with it light and shade.
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
    """One rounded body of a fruit.

    Attributes
    ----------
    rho : float array (height, width)
        Its shape: 0 in the middle, 1 at the rim, more outside.
    colour : float array (height, width, 3), or three floats
        RGB, 0 to 1.
    gloss : float
        Strength of the highlight; 0 is matt.
    relief : float array (height, width), optional
        Height of the surface, for dimples and seeds; mostly within -1 to 1.
    roundness : float
        1 for a full body; 0 for a flat disc.
    """

    rho: Field
    colour: Colour
    gloss: float = 0.4
    relief: Field | None = None
    roundness: float = 1.0


class View:
    """The coordinates in which a fruit is drawn, and its random numbers.

    Parameters
    ----------
    width, height : int
        Of the picture, pixels.
    angle : float
        Degrees by which the fruit is turned.
    rng : numpy.random.Generator
        Varies size, colours and patterns.

    Attributes
    ----------
    u, v : float arrays (height, width)
        Coordinates that turn with the fruit: to its right and towards its bottom. The fruit fills about -1 to 1.
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
        """Smooth noise: a mean of cosine waves of random direction.

        Parameters
        ----------
        across, along : float
            Frequency in ``u`` and in ``v``, radians per unit; ``along`` defaults to ``across``.
        waves : int
            How many waves are added.

        Returns
        -------
        float array (height, width)
            About 0, mostly within -1 to 1.
        """
        along = across if along is None else along
        total = np.zeros_like(self.u)
        for direction, phase in self._rng.uniform(0, 2 * math.pi, (waves, 2)).tolist():
            total += np.cos(across * math.cos(direction) * self.u + along * math.sin(direction) * self.v + phase)
        return total / math.sqrt(waves)

    def dots(self, density: float, radius: float) -> Field:
        """Spots: one at a random place in each cell of a grid.

        Parameters
        ----------
        density : float
            Cells per unit of length.
        radius : float
            Of a spot, units.

        Returns
        -------
        float array (height, width)
            1 in the middle of a spot, 0 outside.
        """
        at = self._rng.uniform(0.2, 0.8, (2, 16, 16))
        column, row = np.floor(self.u * density).astype(int), np.floor(self.v * density).astype(int)
        x, y = at[:, row % 16, column % 16]
        away: Field = np.hypot(self.u * density - column - x, self.v * density - row - y) / density
        return (1.5 - away / radius).clip(0, 1)

    def jitter(self, colour: Colour, by: float = 0.025) -> Colour:
        """A colour that varies a little from fruit to fruit.

        Parameters
        ----------
        colour : float array (height, width, 3), or three floats
            RGB, 0 to 1.
        by : float
            Standard deviation of the factor by which each channel is multiplied.

        Returns
        -------
        float array (3,) or (height, width, 3)
            RGB.
        """
        return np.asarray(colour) * (1 + self._rng.normal(0, by, 3))

    def ball(self, x: float, y: float, radius: float) -> Field:
        """``rho`` of a sphere.

        Parameters
        ----------
        x, y : float
            Its middle, in ``u`` and ``v``.
        radius : float
            Units.

        Returns
        -------
        float array (height, width)
            0 in the middle, 1 at the rim.
        """
        return np.hypot(self.u - x, self.v - y) / radius

    def rod(self, points: Sequence[tuple[float, float]], thickness: float) -> Field:
        """``rho`` of a line, for stems.

        Parameters
        ----------
        points : sequence of (float, float)
            Through which it goes, in ``u`` and ``v``.
        thickness : float
            Half of its width, units.

        Returns
        -------
        float array (height, width)
            0 in the middle, 1 at the rim.
        """
        nearest = np.full_like(self.u, np.inf)
        for (x0, y0), (x1, y1) in pairwise(points):
            dx, dy = x1 - x0, y1 - y0
            along = np.clip(((self.u - x0) * dx + (self.v - y0) * dy) / (dx * dx + dy * dy), 0, 1)
            np.minimum(nearest, np.hypot(self.u - x0 - along * dx, self.v - y0 - along * dy), out=nearest)
        return nearest / thickness

    def polar(self, bumps: Sequence[tuple[float, float, float]], x: float = 0.0, y: float = 0.0) -> Field:
        """``rho`` of a disc of radius 1 with bumps and dents.

        Parameters
        ----------
        bumps : sequence of (float, float, float)
            Direction and width of each, degrees (0 is to the right, 90 downwards), and its height, units; a dent's is
            negative.
        x, y : float
            The middle of the disc, in ``u`` and ``v``.

        Returns
        -------
        float array (height, width)
            0 in the middle, 1 at the rim.
        """
        theta = np.rad2deg(np.arctan2(self.v - y, self.u - x))
        radius = np.ones_like(self.u)
        for direction, width, height in bumps:
            away = (theta - direction + 180) % 360 - 180
            radius += height * np.exp(-((away / width) ** 2))
        return np.hypot(self.u - x, self.v - y) / radius

    def star(self, x: float, y: float, radius: float, points: int) -> Field:
        """``rho`` of a star of pointed leaves, such as the calyx of a tomato.

        Parameters
        ----------
        x, y : float
            Its middle, in ``u`` and ``v``.
        radius : float
            Length of a leaf, units.
        points : int
            Number of leaves.

        Returns
        -------
        float array (height, width)
            0 in the middle, 1 at the rim.
        """
        theta = np.arctan2(self.v - y, self.u - x)
        reach = radius * (0.28 + 0.72 * np.abs(np.cos(theta * points / 2)) ** 3)
        return np.hypot(self.u - x, self.v - y) / reach


def mix(first: Colour, second: Colour, share: Field) -> Field:
    """Mix two colours, pixel by pixel.

    Parameters
    ----------
    first, second : float array (height, width, 3), or three floats
        RGB, 0 to 1.
    share : float array (height, width)
        Of the second colour; clipped to 0 to 1.

    Returns
    -------
    float array (height, width, 3)
        RGB of each pixel, 0 to 1.
    """
    share = share.clip(0, 1)[..., None]
    mixed: Field = np.asarray(first) * (1 - share) + np.asarray(second) * share
    return mixed


def near(field: Field, where: Field | float, width: float) -> Field:
    """How near a field is to a value: a Gaussian bell.

    Parameters
    ----------
    field : float array (height, width)
        Any coordinate or distance.
    where : float array (height, width), or float
        The value at which the bell has its top.
    width : float
        The distance from the top at which the bell has fallen to 1/e.

    Returns
    -------
    float array (height, width)
        1 where ``field`` equals ``where``, falling to 0.
    """
    return np.exp(-(((field - where) / width) ** 2))


def render(
    parts: Callable[[View], Iterator[Part]], angle: float, width: int, height: int, rng: np.random.Generator
) -> tuple[Field, Field]:
    """Draw parts on a nearly white background, with a soft shadow.

    Parameters
    ----------
    parts : callable
        Gives the parts from back to front, in the coordinates that it is given.
    angle : float
        Degrees by which the parts are turned. The light does not turn.
    width, height : int
        Of the picture, pixels.
    rng : numpy.random.Generator
        Varies light, size, colours and patterns.

    Returns
    -------
    rgb : float64 array (height, width, 3)
        0 to 1.
    mask : float64 array (height, width)
        How much of each pixel the parts cover, 0 to 1.
    """
    light = _LIGHT + rng.normal(0, 0.05, 3)
    light /= np.linalg.norm(light)
    paint = np.zeros((height, width, 3))
    mask = np.zeros((height, width))
    for part in parts(View(width, height, angle, rng)):
        box = _box(part.rho)
        shaded, over = _shade(part, box, light)
        paint[box] += over[..., None] * (shaded - paint[box])
        mask[box] = np.maximum(mask[box], over)
    ground = np.array([0.995, 0.99, 0.98]) - 0.3 * _shadow(mask)[..., None] * np.array([0.9, 1.0, 1.1])
    rgb = ground + mask[..., None] * (paint - ground) + rng.normal(0, 0.006, (height, width, 3))
    return np.clip(rgb, 0, 1), mask


def _box(rho: Field) -> tuple[slice, slice]:
    """The rows and columns in which a part is visible, with a margin of two pixels for the gradients."""
    inside = rho < 1.0
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return slice(max(rows[0] - 2, 0), rows[-1] + 3), slice(max(columns[0] - 2, 0), columns[-1] + 3)


def _shade(part: Part, box: tuple[slice, slice], light: Field) -> tuple[Field, Field]:
    """The lit colours of a part (h, w, 3), and how much of each pixel it covers (h, w)."""
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
    bounce = 0.12 * (1 - z) ** 2 * np.clip(y, 0, 1)  # light reflected by the table
    brightness = (0.38 + 0.72 * lit + bounce)[..., None]
    colour = np.broadcast_to(part.colour, (*part.rho.shape, 3))[box].clip(0, 1)
    richer = colour ** (1.45 - 0.45 * brightness.clip(0, 1))  # as colours are in the shade
    return richer * brightness + shine[..., None], over


def _shadow(mask: Field) -> Field:
    """Darkness of the shadow (height, width), 0 to 1: the mask, moved away from the light and blurred."""
    height, width = mask.shape
    reach = min(height, width)
    outline = Image.fromarray((mask * 255).astype(np.uint8))
    moved = Image.new("L", outline.size)
    moved.paste(outline, (round(0.05 * reach), round(0.07 * reach)))
    return np.asarray(moved.filter(ImageFilter.GaussianBlur(0.055 * reach))) / 255.0
