"""Bytes of a photograph to a square RGB array, or a typed rejection."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, Image, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin

from verger.errors import Reason, Rejection
from verger.photographs import avif, jpeg, png, tiff
from verger.photographs.memory import MemoryBudget, release_free_memory
from verger.photographs.orientation import locate, turn_upright
from verger.photographs.rgb import as_rgb
from verger.photographs.squares import FITS

MAX_BYTES = 256 * 2**20
"""Most bytes of a file that is decoded. An uncompressed 16-bit photograph of 40 megapixels has fewer."""

MAX_PIXELS = 120_000_000
"""Most pixels of a photograph that is decoded. Phones take 108 megapixels, which are 430 MB when decoded."""

# All threads together take no more memory than the largest photograph. Eight of 12 megapixels fit.
_BUDGET = MemoryBudget(MAX_PIXELS)
# From so many pixels on, their memory is given back to the system, which takes 10 ms. Else each thread would keep it.
_LARGE = 32_000_000

MIN_EDGE = 8
"""Shortest edge, pixels. Smaller images are tracking pixels or icons, not photographs."""

# The formats that are decoded. Pillow's other decoders, about forty, are not used: each could have security holes.
FORMATS = frozenset({"JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "HEIF", "AVIF"})
_IMPORTED = (TiffImagePlugin.TiffImageFile, WebPImagePlugin.WebPImageFile, AvifImagePlugin.AvifImageFile)
assert {plugin.format for plugin in _IMPORTED} <= FORMATS  # they register themselves when they are imported
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # photographs are decoded in threads already

DECODERS_VERSION = 2
"""Part of what is remembered with a rejection. Raise it by hand when photographs are read that were rejected before."""

# The first bytes of images: those of FORMATS, and those that are recognised only to be rejected as unsupported.
_SIGNATURES = re.compile(
    rb"(?P<JPEG>\xff\xd8)"
    rb"|(?P<PNG>\x89PNG)"
    rb"|(?P<GIF>GIF8)"
    rb"|(?P<BMP>BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0)"
    rb"|(?P<WEBP>RIFF.{4}WEBP)"
    rb"|(?P<RAW>II\*\0.{4}CR|II(?:RO|U\0)|FUJIFILMCCD-RAW|.{4}ftypcrx )"
    rb"|(?P<TIFF>II[*+]\0|MM\0[*+])"
    rb"|(?P<HEIF>.{4}ftyp(?:hei|hev|mif1|msf1))"
    rb"|(?P<AVIF>.{4}ftypavi[fs])"
    rb"|(?P<JPEG_XL>\xff\x0a|\0\0\0\x0cJXL )"
    rb"|(?P<JPEG_2000>\xff\x4f\xff\x51|\0\0\0\x0cjP  )"
    rb"|(?P<JPEG_XR>II\xbc\x01)"
    rb"|(?P<SVG>(?:\xef\xbb\xbf)?\s*(?:<\?xml.{0,2000}?)?<svg[\s>])"
    rb"|(?P<PSD>8BPS)"
    rb"|(?P<ICO>\0\0[\1\2]\0[^\0]\0?)"
    rb"|(?P<PNM>P[1-6]\s+[#\d])"
    rb"|(?P<OPENEXR>v/1\1)"
    rb"|(?P<RADIANCE>#\?RADIANCE)"
    rb"|(?P<EPS>%!PS-Adobe|\xc5\xd0\xd3\xc6)"
    rb"|(?P<XCF>gimp xcf)"
    rb"|(?P<DJVU>AT&TFORM)"
    rb"|(?P<DDS>DDS )"
    rb"|(?P<QOI>qoif)"
    rb"|(?P<ICNS>icns)",
    re.DOTALL,
)

# By format: what leaves out metadata on which Pillow would fail.
_NEEDED = {"PNG": png.without_metadata, "TIFF": tiff.without_lost_metadata, "AVIF": avif.without_exif}

# HEIF and AVIF may both begin as "mif1"; the brands that follow tell which.
_AVIF_BRAND = re.compile(rb"avi[fs]")

OVERSAMPLING = 2
"""A JPEG is never decoded at fewer pixels than so many for each that the network sees, in each direction."""

# By setting: whether a JPEG may be decoded at a smaller size than its own.
_DECODINGS = {"full": False, "scaled": True}
# What its edges may be divided by. libjpeg also decodes 3/8, 5/8 and so on, but not with the CPU's vector instructions:
# it takes as long as for the next larger of these, or longer. Pillow decodes the same sizes, and the same pixels.
_REDUCTIONS = (8, 4, 2)

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

# Parts of the messages by which Pillow and libheif say that a file ends too early, or that they do not support it.
_TRUNCATED = re.compile(r"truncated|end of file|insufficient|too small|cannot read full", re.IGNORECASE)
_UNSUPPORTED = re.compile(
    r"not support|unsupported|cannot handle|unknown pixel mode|not available|no codec", re.IGNORECASE
)

# Pillow warns about unusual metadata, which does no harm, and about many pixels, for which there is MAX_PIXELS.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Python would print its errors


class Decoded(NamedTuple):
    """A photograph, ready for a network.

    Attributes
    ----------
    rgb : uint8 array (size, size, 3)
        Red, green and blue, 0 to 255; read-only.
    width, height : int
        Of the upright photograph before it was resized, pixels.
    """

    rgb: NDArray[np.uint8]
    width: int
    height: int


def decode(data: bytes, size: int, resample: str = "bicubic", fit: str = "stretch", decoding: str = "full") -> Decoded:
    """Decode a photograph, turn it upright and make it a square of RGB.

    It is thread-safe, and Pillow releases Python's global lock while it works. The first frame of an animation is
    taken. Transparent parts become white. 16-bit grey is scaled to 8 bits. A photograph with missing pixels is
    rejected. A JPEG without its end marker is one of these: nothing else says whether all its pixels are there.

    Parameters
    ----------
    data : bytes
        The whole file.
    size : int
        Edge of the square, pixels.
    resample : {"bicubic", "bilinear"}
        Pillow's filter.
    fit : {"stretch", "crop", "pad"}
        Stretch it to the square, crop the middle, or pad it with white.
    decoding : {"full", "scaled"}
        With ``scaled``, a JPEG is decoded at an eighth, a quarter or half of its width and height: the least that
        leaves two pixels for each of the square, in each direction. Smaller JPEGs, and other formats, are decoded in
        full.

    Returns
    -------
    Decoded
        The square, and the size that the photograph had.

    Raises
    ------
    Rejection
        For anything that is wrong with the file. Whatever a decoder raises becomes a Rejection.
    """
    resampling, fitted, reduced = _FILTERS[resample], FITS[fit], _DECODINGS[decoding]
    format = _format(data)
    try:
        data = _NEEDED[format](data) if format in _NEEDED else data
        with Image.open(io.BytesIO(data), formats=(format,)) as image:
            _check_edges(*image.size)
            whole = image.size
            extent = _reduce(image, size, fit) if reduced else whole
            with _reserved(image, _pixels_held(image, data, whole)):
                loaded = _loaded(image, format, data, whole)
                upright, box, edges = locate(loaded, whole, extent)
                return Decoded(np.asarray(fitted(as_rgb(upright), box, size, resampling)), *edges)
    except Rejection:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, MemoryError and others
        raise _rejection(format, data, error) from None


def thumbnail(data: bytes, edge: int, quality: int = 70, most: int = MAX_PIXELS) -> bytes:
    """Make a small JPEG of a photograph: upright, white where it was transparent, without any metadata.

    Parameters
    ----------
    data : bytes
        The whole file.
    edge : int
        Longer edge of the thumbnail at most, pixels.
    quality : int
        Of the JPEG, 1 to 95.
    most : int
        Limit of the pixels to decode. Most JPEGs can be decoded at a smaller size, of which the pixels count.

    Returns
    -------
    bytes
        The JPEG file.

    Raises
    ------
    Rejection
        As `decode` does, and where there are more pixels to decode than ``most``.
    """
    format = _format(data)
    try:
        data = _NEEDED[format](data) if format in _NEEDED else data
        with Image.open(io.BytesIO(data), formats=(format,)) as image:
            _check_edges(*image.size)
            whole = image.size
            image.draft(None, (2 * edge, 2 * edge))  # decode a JPEG at the smallest size that suffices
            pixels = _pixels_held(image, data, whole)
            if pixels > most:
                raise Rejection(Reason.TOO_LARGE, f"{pixels:,} pixels to decode, the limit is {most:,}")
            with _reserved(image, pixels):
                return _thumbnail(image, format, data, edge, quality)
    except Rejection:
        raise
    except Exception as error:
        raise _rejection(format, data, error) from None


def _reduce(image: Image.Image, size: int, fit: str) -> tuple[float, float]:
    """Have a JPEG decoded at the smallest size that leaves enough pixels for a square; nothing else has such sizes.

    Returns the exact width and height in pixels of that size, of which libjpeg decodes the next whole number.
    """
    edge = max(image.size) if fit == "pad" else min(image.size)
    by = next((by for by in _REDUCTIONS if edge >= OVERSAMPLING * size * by), 1)
    drafted = image.draft(None, (image.width // by, image.height // by)) if by > 1 else None
    return drafted[1][2:] if drafted else image.size


def _pixels_held(image: Image.Image, data: bytes, whole: tuple[int, int]) -> int:
    """How many pixels are in memory when an image is decoded, perhaps at a smaller size than its whole one."""
    width, height = whole if image.size != whole and jpeg.is_held_whole(data) else image.size
    return width * height


@contextmanager
def _reserved(image: Image.Image, pixels: int) -> Iterator[None]:
    """Reserve memory for the pixels to decode; free it at the end."""
    with _BUDGET.reserve(pixels):
        try:
            yield
        finally:
            if pixels > _LARGE:
                image.close()
                release_free_memory()


def _thumbnail(image: Image.Image, format: str, data: bytes, edge: int, quality: int) -> bytes:
    if format == "JPEG":
        image.load()  # at the smaller size
    else:
        image = _loaded(image, format, data, image.size)
    small = as_rgb(turn_upright(image))
    small.thumbnail((edge, edge), Image.Resampling.BICUBIC)
    small.info = {}  # else Pillow would copy the photograph's comment
    sink = io.BytesIO()
    small.save(sink, "JPEG", quality=quality, optimize=True)
    return sink.getvalue()


def _format(data: bytes) -> str:
    """The format, by the first bytes; a Rejection if it cannot be decoded here."""
    if not data:
        raise Rejection(Reason.EMPTY, "0 bytes")
    if len(data) > MAX_BYTES:
        raise Rejection(Reason.TOO_LARGE, f"{len(data):,} bytes, the limit is {MAX_BYTES:,}")
    found = _SIGNATURES.match(data)
    if found is None or found.lastgroup is None:
        raise Rejection(Reason.NOT_AN_IMAGE, f"begins with {data[:12]!r}, as no image does")
    format = found.lastgroup
    if format == "HEIF" and _AVIF_BRAND.search(data, 16, int.from_bytes(data[:4])):
        format = "AVIF"
    if format not in FORMATS:
        raise Rejection(Reason.UNSUPPORTED_FORMAT, f"{format.replace('_', ' ')} is not supported")
    if format == "HEIF" and not _heif():
        raise Rejection(Reason.UNSUPPORTED_FORMAT, "HEIF needs the extra verger[heic]")
    return format


@cache
def _heif() -> bool:
    """Whether HEIF can be decoded. The decoder is loaded at the first call."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def decoders() -> str:
    """Name what decodes photographs here: a remembered rejection by others says nothing.

    Returns
    -------
    str
        The version of this module, and the formats that need an optional part.
    """
    optional = {"AVIF": AvifImagePlugin.SUPPORTED, "HEIF": find_spec("pillow_heif") is not None}
    return " ".join([str(DECODERS_VERSION), *(name for name, present in optional.items() if present)])


def _check_edges(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise Rejection(Reason.TOO_LARGE, f"{width} x {height} pixels, the limit is {MAX_PIXELS:,}")
    if min(width, height) < MIN_EDGE:
        raise Rejection(Reason.TOO_SMALL, f"{width} x {height} pixels, the least edge is {MIN_EDGE}")


def _loaded(image: Image.Image, format: str, data: bytes, whole: tuple[int, int]) -> Image.Image:
    """Load the pixels of an image, whose size was the whole one before it was reduced."""
    if format == "JPEG":
        return jpeg.load(image, data, whole)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tiff.check(image, data)
    image.load()
    if format == "PNG":
        png.mend_transparency(image, data)
    if format == "AVIF":
        image.info.pop("xmp", None)  # its orientation does not count, see without_exif
    return image


def _rejection(format: str, data: bytes, error: Exception) -> Rejection:
    """Translate what a decoder raised."""
    said = _open_error(format, data) if isinstance(error, UnidentifiedImageError) else str(error)
    message = f"{format}: {said or type(error).__name__}"
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return Rejection(Reason.TOO_LARGE, message)
    if isinstance(error, MemoryError):
        return Rejection(Reason.UNREADABLE, f"{format}: not enough memory to decode it")
    if _UNSUPPORTED.search(said) and not (_TRUNCATED.search(said) or _is_cut(format, data)):
        return Rejection(Reason.UNSUPPORTED_FORMAT, message)
    # Cut or damaged: permanent, as the same bytes will not decode tomorrow either.
    return Rejection(Reason.TRUNCATED, message)


def _open_error(format: str, data: bytes) -> str:
    """Why Pillow cannot open the file. Image.open does not say it, so its steps are repeated here."""
    factory, accept = Image.OPEN[format]
    if accept and isinstance(accept(data[:16]), str):
        return "not supported by this build of Pillow"
    try:
        factory(io.BytesIO(data), "")
    except Exception as error:
        return str(error)
    return ""


def _is_cut(format: str, data: bytes) -> bool:
    """Whether a file that cannot be decoded is shorter than it says, or has no end marker."""
    if format in ("WEBP", "BMP"):
        start, extra = (4, 8) if format == "WEBP" else (2, 0)
        return int.from_bytes(data[start : start + 4], "little") + extra > len(data)
    if format == "TIFF":
        return int.from_bytes(data[4:8], "little" if data.startswith(b"II") else "big") >= len(data)
    ending = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b";"}.get(format, b"")
    return not data.rstrip(b"\0").endswith(ending)
