"""Damage in the strips and tiles of a TIFF that libtiff does not notice.

libtiff stops to inflate when it has enough pixels, before the checksum, and hides the warnings about JPEGs inside.
https://www.loc.gov/preservation/digital/formats/fdd/fdd000022.shtml
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from PIL import TiffImagePlugin

from verger.errors import Reason, Rejection
from verger.photographs import jpeg

_DEFLATE, _JPEG = (8, 32946), 7  # values of the tag Compression
_COMPRESSION, _TABLES = 259, 347
_PLACES = ((273, 279), (324, 325))  # tags with offsets and lengths: of strips, of tiles
_PIECE = 1 << 20  # bytes that are inflated at a time, as they are only checked


def check(image: TiffImagePlugin.TiffImageFile, data: bytes) -> None:
    """Look for damage in the compressed pixels. With other compressions, and without, there is nothing to check.

    Parameters
    ----------
    image : PIL.TiffImagePlugin.TiffImageFile
        The opened file.
    data : bytes
        The same file.

    Raises
    ------
    Rejection
        Compressed data are damaged.
    """
    compression = image.tag_v2.get(_COMPRESSION)
    for part in _parts(image, data) if compression == _JPEG or compression in _DEFLATE else ():
        said = _inflating_fails(part) if compression in _DEFLATE else _warning(image.tag_v2.get(_TABLES), part)
        if said:
            raise Rejection(Reason.TRUNCATED, f"TIFF: {said}")


def _parts(image: TiffImagePlugin.TiffImageFile, data: bytes) -> Iterator[bytes]:
    for offsets, lengths in _PLACES:
        for offset, length in zip(image.tag_v2.get(offsets, ()), image.tag_v2.get(lengths, ()), strict=False):
            yield data[offset : offset + length]


def _inflating_fails(part: bytes) -> str:
    """What zlib says of damaged data. It compares a checksum at their end."""
    inflating = zlib.decompressobj()
    try:
        while part and not inflating.eof:
            inflating.decompress(part, _PIECE)
            part = inflating.unconsumed_tail
    except zlib.error as error:
        return str(error)
    return "" if inflating.eof else "compressed data end too early"


def _warning(tables: bytes | None, part: bytes) -> str:
    """What libjpeg warns of in one strip, to which the tables belong that all strips share."""
    whole = tables[:-2] + part[2:] if isinstance(tables, bytes) and tables.endswith(b"\xff\xd9") else part
    return jpeg.damage(whole)
