"""PNGs without the chunks that their pixels do not need, and with the transparent colour that Pillow misreads.

Pillow reads every chunk that it knows, and fails on metadata that are damaged or large. https://www.w3.org/TR/png-3/
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, PngImagePlugin

from verger.errors import Reason, Rejection

_SIGNATURE = 8
# Chunks that are not needed for a still picture are those with a lower-case first letter, but for these.
_TRANSPARENCY, _EXIF, _TEXTS = b"tRNS", b"eXIf", (b"tEXt", b"zTXt", b"iTXt")
# Keywords of texts that may hold an orientation: XMP, and EXIF as ImageMagick and Pillow write it.
_ORIENTED = (b"XML:com.adobe.xmp", b"Raw profile type exif", b"exif")
# Pillow fails where a compressed text is longer, or all texts together are (of 64 MiB).
_MOST_INFLATED, _MOST_TEXT = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY // 4


def without_metadata(data: bytes) -> bytes:
    """Leave out what neither the pixels nor their orientation need, whatever its kind and size.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    bytes
        A file with the same pixels; ``data`` itself where nothing can be left out.

    Raises
    ------
    Rejection
        The checksum of compressed pixels is wrong. Pillow does not look at it.
    """
    kept, start = [], 0
    for kind, begin, end in _chunks(data):
        if not _is_needed(data, kind, begin, end):
            kept.append(data[start:begin])
            start = end
        elif kind == b"IDAT" and not _is_whole(data, begin, end):
            raise Rejection(Reason.TRUNCATED, f"PNG: the checksum of the pixels at byte {begin:,} is wrong")
    return b"".join([*kept, data[start:]]) if kept else data


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk, up to the first that is cut."""
    at = _SIGNATURE
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        if end > len(data):
            return
        yield data[at + 4 : at + 8], at, end
        at = end


def _is_needed(data: bytes, kind: bytes, begin: int, end: int) -> bool:
    if not kind[:1].islower() or kind == _TRANSPARENCY:
        return True
    if kind not in (_EXIF, *_TEXTS) or not _is_whole(data, begin, end):
        return False
    keyword, _, text = data[begin + 8 : end - 4].partition(b"\0")
    small = len(text) <= _MOST_TEXT and _inflates_within_limit(kind, text)
    return kind == _EXIF or (keyword in _ORIENTED and small)


def _is_whole(data: bytes, begin: int, end: int) -> bool:
    """Whether a chunk has the checksum that it says."""
    return zlib.crc32(memoryview(data)[begin + 4 : end - 4]) == int.from_bytes(data[end - 4 : end])


def _inflates_within_limit(kind: bytes, text: bytes) -> bool:
    """Whether Pillow can read a text that may be compressed."""
    if kind == b"zTXt":
        compressed = text[1:]
    elif kind == b"iTXt" and text[:1] == b"\1":
        compressed = text[2:].split(b"\0", 2)[-1]
    else:
        return True
    inflating = zlib.decompressobj()
    try:
        inflating.decompress(compressed, _MOST_INFLATED)
    except zlib.error:
        return False
    return not inflating.unconsumed_tail


def mend_transparency(image: Image.Image, data: bytes) -> None:
    """Make the transparent colour of a file fit its pixels, where Pillow scales these and not the colour.

    Parameters
    ----------
    image : PIL.Image.Image
        Loaded, not yet turned. Pixels of 2 and 4 bits, and of 16 bits a colour, are mended; 16-bit grey is kept in
        16 bits, and so is its transparent colour.
    data : bytes
        The file.
    """
    transparent, depth = image.info.get("transparency"), data[24]
    if image.mode == "L" and depth in (2, 4) and isinstance(transparent, int):
        image.info["transparency"] = transparent * 255 // (2**depth - 1)
    elif image.mode == "RGB" and depth == 16 and isinstance(transparent, tuple):
        colour = np.array(transparent, np.uint16)
        same = (np.asarray(image) == colour >> 8) & (_low_bytes(data) == colour & 255)
        del image.info["transparency"]
        image.putalpha(Image.fromarray(np.where(same.all(axis=-1), 0, 255).astype(np.uint8)))


def _low_bytes(data: bytes) -> np.ndarray:
    """The lower bytes of 16-bit colours; Pillow drops these."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]
        image.load()
        return np.asarray(image)
