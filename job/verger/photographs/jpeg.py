"""JPEGs, decoded so that damage inside them is noticed.

Pillow hides the warnings of libjpeg, by which alone a damaged JPEG with an end marker can be told from a whole one.
simplejpeg gives the same pixels as fast, and raises the first warning. Cameras write much that libjpeg warns of and
that does no harm, so a warning counts only where pixels are lost. https://www.w3.org/Graphics/JPEG/itu-t81.pdf
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import simplejpeg
from PIL import Image

from verger.errors import Reason, Rejection

# Warnings that pixels are lost: of libjpeg's, these are about the compressed data.
_DAMAGE = re.compile(r"premature end|bad huffman code|bad arithmetic code|instead of RST", re.IGNORECASE)
# Errors that only damage makes, in a JPEG whose header could be read.
_BROKEN = re.compile(r"marker type|bogus|file structure", re.IGNORECASE)
_LEFT_OVER = re.compile(r"(\d+) extraneous bytes before marker 0x")

# Cameras fill the compressed data up to a multiple of some bytes, so that up to so many bytes are left over.
_PADDING = 16
# So many zero bytes in a row are no photograph: blocks in which each of the 63 frequencies has the least amplitude.
_ZEROS = bytes(64)

_SOI, _EOI, _SOS, _DHT, _DRI, _JFIF = 0xD8, 0xD9, 0xDA, 0xC4, 0xDD, 0xE0
_SEQUENTIAL, _PROGRESSIVE, _END_OF_BLOCK = (0xC0, 0xC1), (0xC2, 0xC6, 0xCA, 0xCE), 0
_STANDALONE = {0x01, *range(0xD0, 0xD9)}  # markers that have no segment
# Segments that decide what the pixels are: tables, frame, restart interval, JFIF and Adobe, which tell the colours.
_NEEDED = {*range(0xC0, 0xD0), 0xDB, _DRI, _JFIF, 0xEE}
_MARKER = re.compile(rb"\xff+([^\0\xff])", re.DOTALL)
_END_OF_SCAN = re.compile(rb"\xff+[^\0\xd0-\xd7\xff]", re.DOTALL)
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")


class _Header(NamedTuple):
    """What comes before the compressed data.

    Attributes
    ----------
    clean : bytes
        The start of the file, without what does not decide the pixels, such as metadata and stray bytes.
    scan : int
        Where the compressed data begin in the file.
    sequential : bool
        Whether they are of the kind that most cameras write, with Huffman codes.
    zeros_are_flat : bool
        Whether compressed zero bits can be a plain area: for each component they end a block.
    restarts : int or None
        Restart markers that the compressed data should hold; None where there are none or the number is unknown.
    several_scans : bool
        Whether other compressed data follow, before which no pixel is known: of more frequencies, or other colours.
    """

    clean: bytes
    scan: int
    sequential: bool
    zeros_are_flat: bool
    restarts: int | None
    several_scans: bool


def load(image: Image.Image, data: bytes, whole: tuple[int, int]) -> Image.Image:
    """Decode a JPEG that Pillow has opened; not yet turned upright.

    Parameters
    ----------
    image : PIL.Image.Image
        The opened file, whose pixels are not loaded. Where Pillow's `draft` has made its size smaller, the pixels of
        that size are decoded.
    data : bytes
        The same file.
    whole : (int, int)
        Width and height that the image had before it was made smaller, pixels.

    Returns
    -------
    PIL.Image.Image
        The pixels as Pillow would decode them, and the metadata of ``image``; it may be ``image`` itself.

    Raises
    ------
    Rejection
        The compressed data are damaged or incomplete.
    """
    left_over = 0
    try:
        loaded = _decoded(image, data, whole)
    except ValueError as error:
        loaded, left_over = _decode_despite_warning(image, data, whole, str(error))
    if data.find(_ZEROS, data.find(b"\xff\xda")) >= 0 and _is_zeroed(data, left_over):
        raise Rejection(Reason.TRUNCATED, "JPEG: a part of its compressed data is zero bytes")
    return loaded


def damage(data: bytes) -> str:
    """Look for damage in a JPEG that is a part of another file.

    Parameters
    ----------
    data : bytes
        From its start marker to its end marker.

    Returns
    -------
    str
        What the decoder warns of, where pixels are lost; else empty. What it cannot decode is not judged.
    """
    try:  # as small as it can be: all of the compressed data are read even so
        simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        said = str(error)
        return said if _DAMAGE.search(said) or _BROKEN.search(said) or _left_over_bytes(said) > _PADDING else ""
    return ""


def is_held_whole(data: bytes) -> bool:
    """Tell whether a JPEG is in memory with all of its pixels, at whatever size it is decoded.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    bool
        True for a progressive one, for one with a scan for each colour, and where the header cannot be read.
    """
    header = _header(data)
    return header is None or header.several_scans


def _decoded(image: Image.Image, data: bytes, whole: tuple[int, int]) -> Image.Image:
    """The pixels; a ValueError with the decoder's first warning or its error."""
    width, height = image.size
    colours, mode = ("CMYK", "CMYK") if image.mode == "CMYK" else ("RGBX", "RGB")
    # Of Pillow's size, so that a header on which the two do not agree cannot ask for more memory.
    pixels = np.empty((height, width, 4), np.uint8)
    least = {}
    if image.size != whole:
        if simplejpeg.decode_jpeg_header(data)[:2] != whole[::-1]:
            raise ValueError("two sizes")
        least = {"min_height": height, "min_width": width}
    if simplejpeg.decode_jpeg(data, colours, buffer=pixels, **least).shape != pixels.shape:
        raise ValueError("two sizes")
    if mode == "CMYK":
        np.invert(pixels, out=pixels)  # as Pillow does: Adobe's are written that way
    flat = pa.Array.from_buffers(pa.uint8(), pixels.size, [None, pa.py_buffer(pixels)])
    found = Image.fromarrow(pa.FixedSizeListArray.from_arrays(flat, 4), mode, image.size)  # without a copy
    found.info = image.info
    return found


def _decode_despite_warning(
    image: Image.Image, data: bytes, whole: tuple[int, int], warning: str
) -> tuple[Image.Image, int]:
    """The pixels where a warning does no harm, and how many compressed bytes are left over; else a Rejection."""
    header = _header(data)
    if header is None:
        return _by_pillow(image), 0
    try:
        # The first warning may be of a harmless oddity before the data, and hide one that matters.
        return _decoded(image, header.clean + data[header.scan :], whole), 0
    except ValueError as error:
        warning = str(error)
    if _DAMAGE.search(warning):
        raise Rejection(Reason.TRUNCATED, f"JPEG: {warning}")
    left_over = _left_over_bytes(warning)
    if left_over <= _PADDING or _is_padding(data, header, left_over):
        return _by_pillow(image), left_over
    try:
        return _decoded(image, _until_last_restart(data, header), whole), 0
    except ValueError:
        raise Rejection(Reason.TRUNCATED, f"JPEG: {warning}") from None


def _left_over_bytes(warning: str) -> int:
    found = _LEFT_OVER.search(warning)
    return int(found[1]) if found else 0


def _by_pillow(image: Image.Image) -> Image.Image:
    image.load()
    return image


def _is_padding(data: bytes, header: _Header, left_over: int) -> bool:
    """Whether what is left over before the next marker is one byte, repeated: nothing was lost there."""
    end = _end_of_scan(data, header.scan)
    tail = data[end - left_over : end]
    return tail.count(tail[:1]) == left_over and _run_before(data, end) <= left_over + _PADDING


def _until_last_restart(data: bytes, header: _Header) -> bytes:
    """The file up to the last restart interval that it should have: some scanners and cameras write more of them."""
    if header.restarts is None:
        raise ValueError("no restart markers")
    markers = list(_RESTART.finditer(data, header.scan, _end_of_scan(data, header.scan)))
    if len(markers) <= header.restarts:
        raise ValueError("no more restart markers than expected")
    return header.clean + data[header.scan : markers[header.restarts].start()] + b"\xff\xd9"


def _is_zeroed(data: bytes, left_over: int) -> bool:
    """Whether zero bytes were written over a part of the compressed data, as by a disk that lost a block.

    The decoder takes zero bytes for codes. It notices nothing where they happen to be as many blocks as were there.
    """
    header = _header(data)
    if header is None or not header.sequential or header.zeros_are_flat:
        return False
    end = _end_of_scan(data, header.scan)
    if data.find(_ZEROS, header.scan, end) < 0:
        return False
    padding = _run_before(data, end)
    if left_over and padding <= left_over + _PADDING:
        end -= padding
    return data.find(_ZEROS, header.scan, end) >= 0


def _end_of_scan(data: bytes, scan: int) -> int:
    """Where the next marker stands that is no restart marker."""
    found = _END_OF_SCAN.search(data, scan)
    return found.start() if found else len(data)


def _run_before(data: bytes, end: int) -> int:
    """How many equal bytes stand before a position."""
    last = data[end - 1 : end]
    return end - len(data[:end].rstrip(last)) if last else 0


def _header(data: bytes) -> _Header | None:
    """Read the segments up to the compressed data; None where there is none of these."""
    clean, interval, blocks, colours, frame, at = bytearray(data[:2]), 0, 0, 0, 0, 2
    symbols: dict[int, int] = {}
    while found := _MARKER.search(data, at):
        marker, at = found[1][0], found.end()
        if marker == _EOI:
            return None
        if marker in _STANDALONE:
            continue
        segment = data[at : at + int.from_bytes(data[at : at + 2])]
        at += max(2, len(segment))
        if marker == _DHT:
            symbols |= _first_symbols(segment[2:])
        elif marker == _DRI:
            interval = int.from_bytes(segment[2:4])
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC8, 0xCC):
            frame, blocks, colours = marker, _units(segment), segment[7] if len(segment) > 7 else 0
        if marker == _SOS:
            if len(segment) < 6 or len(segment) != 6 + 2 * segment[2]:
                return None
            if frame in _SEQUENTIAL:  # other values mean nothing here, and libjpeg warns of them
                segment = segment[:-3] + b"\0\x3f\0"
            clean += b"\xff\xda" + segment
            restarts = math.ceil(blocks / interval) - 1 if interval and blocks else None
            tables = {segment[4 + 2 * number] & 15 for number in range(segment[2])}
            flat = all(symbols.get(table) == _END_OF_BLOCK for table in tables)
            several = frame in _PROGRESSIVE or segment[2] < colours
            return _Header(bytes(clean), at, frame in _SEQUENTIAL, flat, restarts, several)
        if marker in _NEEDED:
            if marker == _JFIF:  # libjpeg warns of versions that it does not know
                segment = segment[:7] + b"\1\1" + segment[9:] if segment[2:7] == b"JFIF\0" else b"\0\2"
            clean += bytes((0xFF, marker)) + segment
    return None


def _first_symbols(tables: bytes) -> dict[int, int]:
    """What the code of zero bits means in each table of AC codes of a segment, by the table's number."""
    found = {}
    while len(tables) > 17:
        number = sum(tables[1:17])
        if tables[0] >> 4 and number:
            found[tables[0] & 15] = tables[17]
        tables = tables[17 + number :]
    return found


def _units(frame: bytes) -> int:
    """How many units (MCUs) a scan of all components has; 0 where the frame does not say it."""
    if len(frame) < 8 or len(frame) < 8 + 3 * frame[7]:
        return 0
    height, width, number = int.from_bytes(frame[3:5]), int.from_bytes(frame[5:7]), frame[7]
    factors = [frame[9 + 3 * at] for at in range(number)] if number > 1 else [0x11]
    across, down = 8 * max(factor >> 4 for factor in factors), 8 * max(factor & 15 for factor in factors)
    return math.ceil(width / across) * math.ceil(height / down) if across and down else 0
