"""TIFFs: lost metadata passed over, and damage in strips and tiles that libtiff does not notice.

libtiff stops to inflate when it has enough pixels, before the checksum, and hides the warnings about JPEGs inside.
https://www.loc.gov/preservation/digital/formats/fdd/fdd000022.shtml
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Literal

from PIL import TiffImagePlugin

from verger.errors import Reason, Rejection
from verger.photographs import jpeg

_DEFLATE, _JPEG = (8, 32946), 7  # values of the tag Compression
_COMPRESSION, _TABLES = 259, 347
_PLACES = ((273, 279), (324, 325))  # tags with offsets and lengths: of strips, of tiles
_PIECE = 1 << 20  # bytes that are inflated at a time, as they are only checked

# Tags that say what the pixels are and where. Any other is of metadata.
_PIXELS = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332}
    | {336, 338, 339, 340, 341, 347, *range(512, 522), *range(529, 533)}
)
_BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_BYTE = 1


def without_lost_metadata(data: bytes) -> bytes:
    """Pass over metadata whose content lies outside the file: Pillow would not read the tags that follow.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    bytes
        The same, with a byte in the place of such metadata; ``data`` itself where there are none.
    """
    order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"
    big = data[2:4] in (b"+\0", b"\0+")
    head, counted, entry, word = (16, 8, 20, 8) if big else (8, 2, 12, 4)

    def number(at: int, length: int) -> int:
        return int.from_bytes(data[at : at + length], order)

    first = number(head - word, word)
    mended = bytearray()
    for at in range(first + counted, first + counted + entry * min(number(first, counted), 4096), entry):
        size = _BYTES_OF_TYPE.get(number(at + 2, 2), 1) * number(at + 4, word)
        if number(at, 2) not in _PIXELS and size > word and number(at + 4 + word, word) + size > len(data):
            mended = mended or bytearray(data)
            mended[at + 2 : at + 4 + word] = _BYTE.to_bytes(2, order) + (1).to_bytes(word, order)
    return bytes(mended) or data


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
