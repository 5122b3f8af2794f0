"""Photographs made square: stretched, cropped or padded."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from verger.photographs.orientation import Box

Square = Callable[[Image.Image, Box, int, Image.Resampling], Image.Image]
"""Of an upright RGB image, the part of it that is the photograph, the square's edge in pixels, and a filter."""


def _stretched(image: Image.Image, box: Box, size: int, resampling: Image.Resampling) -> Image.Image:
    return image.resize((size, size), resampling, box)


def _cropped(image: Image.Image, box: Box, size: int, resampling: Image.Resampling) -> Image.Image:
    left, top, right, bottom = box
    edge = min(right - left, bottom - top)
    left, top = left + (right - left - edge) / 2, top + (bottom - top - edge) / 2
    return image.resize((size, size), resampling, (left, top, left + edge, top + edge))


def _padded(image: Image.Image, box: Box, size: int, resampling: Image.Resampling) -> Image.Image:
    edges = box[2] - box[0], box[3] - box[1]
    width, height = (max(1, round(edge * size / max(edges))) for edge in edges)
    square = Image.new("RGB", (size, size), "white")
    square.paste(image.resize((width, height), resampling, box), ((size - width) // 2, (size - height) // 2))
    return square


FITS: dict[str, Square] = {"stretch": _stretched, "crop": _cropped, "pad": _padded}
"""By setting: what makes a photograph square."""
