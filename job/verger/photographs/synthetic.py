"""Synthetic photographs of fruit, to try verger on: most are plain, some unusual, a few broken."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from verger.errors import UsageError
from verger.photographs.fruit import VARIETIES, photograph
from verger.storage.base import Storage
from verger.storage.stores import Stores
from verger.storage.uri import canonical, join

EDGE = 100  # pixels, of most photographs, as in Fruits-360
UNUSUAL_EVERY = 12  # one photograph in 12 is unusual
BROKEN_EVERY = 100  # one broken file per 100 photographs, three at most

_README = """Fruit, drawn by `verger sample` with seed {seed}. No photograph was taken, no data set was used.
Folders are Training or Test, then the variety; files are r_<degrees turned>_<height>.
"""


class SampleCounts(NamedTuple):
    """How many files of what sort a sample has.

    Attributes
    ----------
    photographs : int
        All that can be decoded, the unusual ones included.
    odd : int
        The unusual ones: their mode, size, orientation or format is not that of an RGB JPEG of 100x100.
    broken : int
        Files beside the photographs, which no run can decode.
    """

    photographs: int
    odd: int
    broken: int


class _Drawing(NamedTuple):
    """One drawn fruit: the picture, 8-bit RGB, and the mask, 8-bit grey: how much of each pixel the fruit covers."""

    rgb: Image.Image
    mask: Image.Image


def draw(folder: str, photographs: int = 300, seed: int = 0, stores: Stores | None = None) -> SampleCounts:
    """Draw fruit photographs below ``folder``, in the layout of Fruits-360.

    Files that are there already stay as they are. The same call again draws nothing, and a call that asks for more
    photographs adds the missing ones. The same seed gives the same bytes, within one version of Pillow.

    Parameters
    ----------
    folder : str
        Local path or URI; a new or empty folder, or one with a sample of the same seed.
    photographs : int
        How many to draw. A few broken files come on top.
    seed : int
        Seed of the random numbers. Another seed gives other photographs.
    stores : Stores, optional
        How the folder is reached; default: as the environment says.

    Returns
    -------
    SampleCounts
        How many files the whole sample has, including those that were there already.

    Raises
    ------
    UsageError
        The folder holds something other than this sample.
    StoreError
        The store refuses or cannot be reached.
    """
    root = canonical(folder)
    storage = (stores or Stores()).of(root)
    present = _start_or_resume(storage, root, _README.format(seed=seed).encode())
    files = {join(root, name): file for name, file in _files(photographs, seed).items()}
    with ThreadPoolExecutor(4) as pool:  # one file is drawn while others are written
        writes = [pool.submit(_put, storage, path, file) for path, file in files.items() if path not in present]
        for write in writes:
            write.result()
    unusual = sum(_kind(number) is not _PLAIN for number in range(photographs))
    return SampleCounts(photographs, unusual, broken=len(files) - photographs)


def draw_one(number: int, seed: int) -> bytes:
    """One plain photograph: an RGB JPEG of 100x100.

    Parameters
    ----------
    number : int
        Which photograph, from 0. The variety of fruit changes with every number, in a fixed order.
    seed : int
        Seed of the random numbers.

    Returns
    -------
    bytes
        The JPEG file.
    """
    return _file(number, _PLAIN, seed)


def _files(photographs: int, seed: int) -> dict[str, Callable[[], bytes]]:
    """The files of a sample: a function that makes each file, by the path below the root."""
    kinds = [_kind(number) for number in range(photographs)]
    whole = {_name(number, kind): partial(_file, number, kind, seed) for number, kind in enumerate(kinds)}
    return whole | dict(list(_BROKEN.items())[: photographs // BROKEN_EVERY])


def _put(storage: Storage, path: str, file: Callable[[], bytes]) -> None:
    storage.write(path, file())


def _start_or_resume(storage: Storage, root: str, readme: bytes) -> set[str]:
    """Write the README first, so that an interrupted sample is recognised; return the paths that are there already."""
    path = join(root, "README.txt")
    if not storage.exists(root):
        storage.write(path, readme)
        return set()
    present = {entry.path for entry in storage.list(root)}
    if path not in present or storage.read(path) != readme:
        raise UsageError(f"{root} holds something other than this sample", "Give an empty or a new folder")
    return present


class _Kind(NamedTuple):
    """A kind of photograph: end of its file name, how it is encoded, and its size in pixels."""

    suffix: str
    save: Callable[[_Drawing], bytes]
    width: int = EDGE
    height: int = EDGE


def _kind(number: int) -> _Kind:
    turn, rest = divmod(number, UNUSUAL_EVERY)
    return _UNUSUAL[turn % len(_UNUSUAL)] if rest == UNUSUAL_EVERY - 1 else _PLAIN


def _subject(number: int) -> tuple[str, int, int]:
    """Variety, round and angle in degrees. A round has each variety once, turned by 137 degrees more than before."""
    round_number, variety = divmod(number, len(VARIETIES))
    return list(VARIETIES)[variety], round_number, round_number * 137 % 360


def _name(number: int, kind: _Kind) -> str:
    """Path below the root, unique. Every fourth photograph of a variety is for testing."""
    variety, round_number, angle = _subject(number)
    split = "Test" if round_number % 4 == 3 else "Training"
    return f"{split}/{variety}/r{round_number // 360 or ''}_{angle}_{kind.height}{kind.suffix}"


def _file(number: int, kind: _Kind, seed: int) -> bytes:
    variety, _, angle = _subject(number)
    fields = photograph(variety, angle, kind.width, kind.height, np.random.default_rng([seed, number]))
    return kind.save(_Drawing(*(Image.fromarray(np.rint(field * 255).astype(np.uint8)) for field in fields)))


def _bytes(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def _jpeg(drawing: _Drawing) -> bytes:
    return _bytes(drawing.rgb, "JPEG", quality=90)


def _rotated_jpeg(drawing: _Drawing) -> bytes:
    """As a phone that was held upright saves it: the pixels are turned by 90 degrees, and EXIF says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return _bytes(drawing.rgb.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=90, exif=exif)


def _transparent_png(drawing: _Drawing) -> bytes:
    """With a transparent background."""
    image = drawing.rgb.copy()
    image.putalpha(drawing.mask)
    return _bytes(image, "PNG")


def _grey16_png(drawing: _Drawing) -> bytes:
    """Grey with 16 bits per pixel."""
    grey = np.asarray(drawing.rgb.convert("F")) * 257.0
    return _bytes(Image.fromarray(grey.round().astype(np.uint16)), "PNG")


_PLAIN = _Kind(".jpg", _jpeg)
_UNUSUAL = (
    _Kind("_grey.png", lambda drawing: _bytes(drawing.rgb.convert("L"), "PNG")),
    _Kind("_exif.jpg", _rotated_jpeg, 120, 160),
    _Kind("_palette.gif", lambda drawing: _bytes(drawing.rgb.quantize(64), "GIF")),
    _Kind("_cmyk.jpg", lambda drawing: _bytes(drawing.rgb.convert("CMYK"), "JPEG", quality=90)),
    _Kind("_tall.jpg", _jpeg, 90, 150),
    _Kind("_alpha.png", _transparent_png),
    _Kind("_16bit.png", _grey16_png),
    _Kind(".webp", lambda drawing: _bytes(drawing.rgb, "WEBP", quality=85)),
    _Kind("_wide.JPG", _jpeg, 200, 100),
    _Kind(".bmp", lambda drawing: _bytes(drawing.rgb, "BMP")),
    _Kind("_large.jpeg", _jpeg, 320, 240),
    _Kind(".tif", lambda drawing: _bytes(drawing.rgb, "TIFF", compression="tiff_deflate")),
)


# Real folders have such files too: an incomplete download, a text with the name of a photograph, an empty file.
_BROKEN: dict[str, Callable[[], bytes]] = {
    "Training/Apple Green 1/r_cut_100.jpg": lambda: _file(0, _PLAIN, 0)[:1500],
    "Training/Apple Red 1/r_note_100.jpg": lambda: b"The camera was in the other hand.\n",
    "Test/Banana 1/r_empty_100.jpg": lambda: b"",
}
