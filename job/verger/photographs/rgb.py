"""Pixels of any mode to red, green and blue of 8 bits."""

from __future__ import annotations

import numpy as np
from PIL import Image


def as_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB, with white behind transparent parts.

    Parameters
    ----------
    image : PIL.Image.Image
        Loaded; its ``info`` tells the transparent colour where there is one.

    Returns
    -------
    PIL.Image.Image
        In RGB; ``image`` itself where it is so already.
    """
    if image.mode.startswith("I") or image.mode == "F":
        image = _scaled(image)
    if image.mode == "La":  # grey of a TIFF, multiplied by its alpha: Pillow converts it to LA only
        image = image.convert("LA")
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(colours, mask=colours)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")  # convert would make a copy


def _scaled(image: Image.Image) -> Image.Image:
    """Scale grey of more than 8 bits to 8 bits. Pillow's own conversion would clip it.

    In 16 bits white is 65,535. With 32 bits or floats the file does not say what is white: it is the smallest of the
    usual ranges that contains the brightest pixel, or else the brightest pixel. A transparent value becomes white.
    """
    values = np.asarray(image, dtype=np.float32)
    transparent = values == image.info["transparency"] if "transparency" in image.info else None
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    brightest = float(values.max())
    ranges = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0,)
    white = next((limit for limit in ranges if brightest <= limit), brightest)
    grey = np.rint(values.clip(0, white) * (255.0 / white)).astype(np.uint8)
    if transparent is not None:
        grey[transparent] = 255
    return Image.fromarray(grey)
