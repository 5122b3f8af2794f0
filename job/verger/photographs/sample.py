"""Drawn photographs of fruit, to try verger on: most plain, some of odd kind, a few broken."""

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
from verger.storage.stores import storage_of
from verger.storage.uri import canonical, join

EDGE = 100  # of most photographs, pixels, as in Fruits-360
ODD_EVERY = 12  # one photograph in so many is of odd kind
BROKEN_EVERY = 100  # one broken file, of three at most, for so many photographs

_README = """Fruit, drawn by `verger sample` with seed {seed}. No photograph was taken, no data set was used.
Folders are Training or Test, then the variety; files are r_<degrees turned>_<height>.
"""


class Drawn(NamedTuple):
    """What a sample holds.

    Attributes
    ----------
    photographs : int
        All that can be decoded, the odd ones among them.
    odd : int
        Those of another mode, size, orientation or format than RGB JPEG of 100x100.
    broken : int
        Further files, which no run can decode.
    """

    photographs: int
    odd: int
    broken: int


class _Drawing(NamedTuple):
    """One drawn fruit: rgb (uint8) and the share of each pixel that it covers."""

    rgb: Image.Image
    cover: Image.Image


def draw(folder: str, photographs: int = 300, seed: int = 0) -> Drawn:
    """Draw fruit photographs below ``folder``, in the layout of Fruits-360.

    What is there already is left as it is: the same call again draws nothing, and one that asks for more
    photographs adds to them. The same seed gives the same bytes, within one version of Pillow.

    Parameters
    ----------
    folder : str
        Local path or URI.
    photographs : int
        How many.
    seed : int
        Which.

    Returns
    -------
    Drawn

    Raises
    ------
    UsageError
        The folder holds something else.
    StoreError
        The store refuses or cannot be reached.
    """
    root = canonical(folder)
    storage = storage_of(root)
    there = _claim(storage, root, _README.format(seed=seed).encode())
    files = {join(root, name): file for name, file in _files(photographs, seed).items()}
    with ThreadPoolExecutor(4) as pool:  # one file is drawn while others reach the disk
        drawing = [pool.submit(_put, storage, path, file) for path, file in files.items() if path not in there]
        for drawn in drawing:
            drawn.result()
    odd = sum(_kind(number) is not _PLAIN for number in range(photographs))
    return Drawn(photographs, odd, broken=len(files) - photographs)


def drawn(number: int, seed: int) -> bytes:
    """One photograph as a JPEG, without the oddities of a real folder: varieties come in turn."""
    return _file(number, _PLAIN, seed)


def _files(photographs: int, seed: int) -> dict[str, Callable[[], bytes]]:
    """What the sample consists of: how each file is made, by its path below the root."""
    kinds = [_kind(number) for number in range(photographs)]
    whole = {_name(number, kind): partial(_file, number, kind, seed) for number, kind in enumerate(kinds)}
    return whole | dict(list(_BROKEN.items())[: photographs // BROKEN_EVERY])


def _put(storage: Storage, path: str, file: Callable[[], bytes]) -> None:
    storage.write(path, file())


def _claim(storage: Storage, root: str, readme: bytes) -> set[str]:
    """Put the README first, so that an interrupted sample is known again; what is there already."""
    path = join(root, "README.txt")
    if not storage.exists(root):
        storage.write(path, readme)
        return set()
    there = {entry.path for entry in storage.list(root)}
    if path not in there or storage.read(path) != readme:
        raise UsageError(f"{root} holds something other than this sample", "Give an empty or a new folder")
    return there


class _Kind(NamedTuple):
    """A kind of photograph: what its name says, its size, and how it becomes a file."""

    suffix: str
    save: Callable[[_Drawing], bytes]
    width: int = EDGE
    height: int = EDGE


def _kind(number: int) -> _Kind:
    turn, rest = divmod(number, ODD_EVERY)
    return _ODD[turn % len(_ODD)] if rest == ODD_EVERY - 1 else _PLAIN


def _subject(number: int) -> tuple[str, int, int]:
    """Variety, turn and angle: varieties in turn, each turned by 137 degrees more than its last."""
    turn, variety = divmod(number, len(VARIETIES))
    return list(VARIETIES)[variety], turn, turn * 137 % 360


def _name(number: int, kind: _Kind) -> str:
    """Path below the root; every fourth photograph of a variety is for testing, and no two have one name."""
    variety, turn, angle = _subject(number)
    split = "Test" if turn % 4 == 3 else "Training"
    return f"{split}/{variety}/r{turn // 360 or ''}_{angle}_{kind.height}{kind.suffix}"


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


def _lying(drawing: _Drawing) -> bytes:
    """As a phone that was held upright saves it: the pixels lie on their side, and EXIF says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return _bytes(drawing.rgb.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=90, exif=exif)


def _cut_out(drawing: _Drawing) -> bytes:
    """Without its ground."""
    image = drawing.rgb.copy()
    image.putalpha(drawing.cover)
    return _bytes(image, "PNG")


def _deep_grey(drawing: _Drawing) -> bytes:
    """16 bits of grey."""
    grey = np.asarray(drawing.rgb.convert("F")) * 257.0
    return _bytes(Image.fromarray(grey.round().astype(np.uint16)), "PNG")


_PLAIN = _Kind(".jpg", _jpeg)
_ODD = (
    _Kind("_grey.png", lambda drawing: _bytes(drawing.rgb.convert("L"), "PNG")),
    _Kind("_exif.jpg", _lying, 120, 160),
    _Kind("_palette.gif", lambda drawing: _bytes(drawing.rgb.quantize(64), "GIF")),
    _Kind("_cmyk.jpg", lambda drawing: _bytes(drawing.rgb.convert("CMYK"), "JPEG", quality=90)),
    _Kind("_tall.jpg", _jpeg, 90, 150),
    _Kind("_alpha.png", _cut_out),
    _Kind("_16bit.png", _deep_grey),
    _Kind(".webp", lambda drawing: _bytes(drawing.rgb, "WEBP", quality=85)),
    _Kind("_wide.JPG", _jpeg, 200, 100),
    _Kind(".bmp", lambda drawing: _bytes(drawing.rgb, "BMP")),
    _Kind("_large.jpeg", _jpeg, 320, 240),
    _Kind(".tif", lambda drawing: _bytes(drawing.rgb, "TIFF", compression="tiff_deflate")),
)


# What a real folder holds too: a download that broke off, a note, a file that was never written.
_BROKEN: dict[str, Callable[[], bytes]] = {
    "Training/Apple Green 1/r_cut_100.jpg": lambda: _file(0, _PLAIN, 0)[:1500],
    "Training/Apple Red 1/r_note_100.jpg": lambda: b"The camera was in the other hand.\n",
    "Test/Banana 1/r_empty_100.jpg": lambda: b"",
}
