"""Bytes of a photograph to a square RGB array, or a typed rejection."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin

from verger.errors import Reason, Rejection
from verger.photographs.memory import MemoryBudget, release_free_memory

MAX_BYTES = 256 * 2**20
"""Longest file that is decoded; an uncompressed 16-bit photograph of 40 megapixels is shorter."""

MAX_PIXELS = 120_000_000
"""Most pixels that are decoded: phones take 108 megapixels, which are 430 MB once decoded."""

# However many threads decode: together they take the memory of the largest photograph, and eight of 12 megapixels pass.
_BUDGET = MemoryBudget(MAX_PIXELS)
_LARGE = 32_000_000  # pixels whose memory goes back to the system, else each thread would keep as much; it costs 10 ms

MIN_EDGE = 8
"""Shortest edge, pixels: what is smaller is a tracking pixel or an icon, not a photograph."""

# What Pillow may decode here. Its other decoders (about forty) are never shown a byte.
FORMATS = frozenset({"JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "HEIF"})
assert {TiffImagePlugin.TiffImageFile.format, WebPImagePlugin.WebPImageFile.format} <= FORMATS  # imported to register

# How images begin: those of FORMATS, and those that are recognised only to say that they are not supported.
_BEGINNINGS = re.compile(
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

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

# How a photograph becomes upright, by its EXIF orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
_ORIENTED_BY = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}

# How Pillow, and libheif behind it, say that a file ends too early, or is of a kind that they do not know.
_CUT = re.compile(r"truncated|end of file|insufficient|too small|cannot read full", re.IGNORECASE)
_UNSUPPORTED = re.compile(r"not support|unsupported|cannot handle|unknown pixel mode|not available", re.IGNORECASE)

# Pillow warns of odd metadata and of many pixels: the first do no harm, the second are MAX_PIXELS' affair.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())  # what nobody listens to is not printed


class Decoded(NamedTuple):
    """A photograph, ready for a network.

    Attributes
    ----------
    rgb : uint8 array (size, size, 3)
        Read-only.
    width, height : int
        Of the photograph when it is upright, pixels.
    """

    rgb: NDArray[np.uint8]
    width: int
    height: int


def decode(data: bytes, size: int, resample: str = "bicubic", fit: str = "stretch") -> Decoded:
    """Decode a photograph, turn it upright and make it a square of RGB.

    Thread-safe; the work is done outside Python's lock. Of an animation the first frame is taken; transparency
    is laid over white; 16-bit grey is scaled to 8 bits. A photograph is taken only when all its pixels are there,
    which a JPEG says by its end marker alone: one without it is truncated.

    Parameters
    ----------
    data : bytes
        The whole file.
    size : int
        Edge of the square, pixels.
    resample : {"bicubic", "bilinear"}
        Pillow's filter.
    fit : {"stretch", "crop", "pad"}
        Stretched to the square, cropped in the middle, or padded with white.

    Returns
    -------
    Decoded

    Raises
    ------
    Rejection
        Whatever is wrong with the file; no other exception that a decoder may raise.
    """
    resampling, squared = _FILTERS[resample], _FITS[fit]
    kind = _kind(data)
    try:
        with Image.open(io.BytesIO(data), formats=(kind,)) as image:
            _check_edges(*image.size)
            with _room(image, image.width * image.height):
                return _decoded(image, lambda upright: squared(upright, size, resampling))
    except Rejection:
        raise
    except Exception as error:  # decoders raise whatever they like: OSError, SyntaxError, struct.error, MemoryError ...
        raise _verdict(kind, data, error) from None


def thumbnail(data: bytes, edge: int, quality: int = 70, most: int = MAX_PIXELS) -> bytes:
    """A small JPEG of a photograph: upright, transparency on white, and without any metadata.

    Parameters
    ----------
    data : bytes
        The whole file.
    edge : int
        Its longer edge at most, pixels.
    quality : int
        Of the JPEG.
    most : int
        A photograph of more pixels is too large; of most JPEGs only those count that are decoded for so small a one.

    Raises
    ------
    Rejection
        As `decode`.
    """
    kind = _kind(data)
    try:
        with Image.open(io.BytesIO(data), formats=(kind,)) as image:
            _check_edges(*image.size)
            whole = image.width * image.height
            image.draft(None, (2 * edge, 2 * edge))  # a JPEG is decoded at no more than it needs
            # A progressive one is whole in memory all the same.
            pixels = whole if image.info.get("progressive") else image.width * image.height
            if pixels > most:
                raise Rejection(Reason.TOO_LARGE, f"{pixels:,} pixels to decode, the limit is {most:,}")
            with _room(image, pixels):
                return _shrunk(image, edge, quality)
    except Rejection:
        raise
    except Exception as error:
        raise _verdict(kind, data, error) from None


@contextmanager
def _room(image: Image.Image, pixels: int) -> Iterator[None]:
    """Room in memory for what is decoded."""
    with _BUDGET.reserve(pixels):
        try:
            yield
        finally:
            if pixels > _LARGE:
                image.close()
                release_free_memory()


def _decoded(image: Image.Image, squared: Callable[[Image.Image], Image.Image]) -> Decoded:
    upright = _upright(image)
    return Decoded(np.asarray(squared(_rgb(upright))), *upright.size)


def _shrunk(image: Image.Image, edge: int, quality: int) -> bytes:
    small = _rgb(_upright(image))
    small.thumbnail((edge, edge), Image.Resampling.BICUBIC)
    small.info = {}  # else Pillow would write the photograph's comment
    sink = io.BytesIO()
    small.save(sink, "JPEG", quality=quality, optimize=True)
    return sink.getvalue()


def _kind(data: bytes) -> str:
    """The format, from the first bytes; a Rejection unless it can be decoded here."""
    if not data:
        raise Rejection(Reason.EMPTY, "0 bytes")
    if len(data) > MAX_BYTES:
        raise Rejection(Reason.TOO_LARGE, f"{len(data):,} bytes, the limit is {MAX_BYTES:,}")
    found = _BEGINNINGS.match(data)
    if found is None or found.lastgroup is None:
        raise Rejection(Reason.NOT_AN_IMAGE, f"begins with {data[:12]!r}, as no image does")
    kind = found.lastgroup
    if kind not in FORMATS:
        raise Rejection(Reason.UNSUPPORTED_FORMAT, f"{kind.replace('_', ' ')} is not supported")
    if kind == "HEIF" and not _heif():
        raise Rejection(Reason.UNSUPPORTED_FORMAT, "HEIF needs the extra verger[heic]")
    return kind


@cache
def _heif() -> bool:
    """Whether HEIF can be decoded; the decoder is loaded when the first such photograph comes."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _check_edges(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise Rejection(Reason.TOO_LARGE, f"{width} x {height} pixels, the limit is {MAX_PIXELS:,}")
    if min(width, height) < MIN_EDGE:
        raise Rejection(Reason.TOO_SMALL, f"{width} x {height} pixels, the least edge is {MIN_EDGE}")


def _upright(image: Image.Image) -> Image.Image:
    """Load the pixels, and turn them as the EXIF or XMP block says (Pillow turns TIFF itself)."""
    image.load()  # before the look at the metadata, which in PNG may follow the pixels
    if not image.info.keys() & _ORIENTED_BY:
        return image
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block takes nothing from the pixels
        turn = None
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.info = image.info  # the transparent colour
    return turned


def _rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB, transparency laid over white."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _scaled(image)
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(colours, mask=colours)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")  # convert copies even where nothing is to be done


def _scaled(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits to 8 bits, by scaling; Pillow's own conversion clips.

    White is 65,535 in 16 bits. Where the mode does not say (32 bits, floats), it is the least of the usual
    ranges that holds the brightest pixel, else the brightest pixel.
    """
    values = np.asarray(image, dtype=np.float32)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    brightest = float(values.max())
    ranges = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0,)
    white = next((limit for limit in ranges if brightest <= limit), brightest)
    return Image.fromarray(np.rint(values.clip(0, white) * (255.0 / white)).astype(np.uint8))


def _stretched(image: Image.Image, size: int, resampling: Image.Resampling) -> Image.Image:
    return image.resize((size, size), resampling)


def _cropped(image: Image.Image, size: int, resampling: Image.Resampling) -> Image.Image:
    return ImageOps.fit(image, (size, size), resampling)


def _padded(image: Image.Image, size: int, resampling: Image.Resampling) -> Image.Image:
    longest = max(image.size)
    width, height = (max(1, round(edge * size / longest)) for edge in image.size)
    square = Image.new("RGB", (size, size), "white")
    square.paste(image.resize((width, height), resampling), ((size - width) // 2, (size - height) // 2))
    return square


_FITS = {"stretch": _stretched, "crop": _cropped, "pad": _padded}


def _verdict(kind: str, data: bytes, error: Exception) -> Rejection:
    """The reason behind what a decoder raised."""
    said = _refusal(kind, data) if isinstance(error, UnidentifiedImageError) else str(error)
    message = f"{kind}: {said or type(error).__name__}"
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return Rejection(Reason.TOO_LARGE, message)
    if isinstance(error, MemoryError):
        return Rejection(Reason.UNREADABLE, f"{kind}: not enough memory to decode it")
    if _UNSUPPORTED.search(said) and not (_CUT.search(said) or _cut_short(kind, data)):
        return Rejection(Reason.UNSUPPORTED_FORMAT, message)
    # Cut or damaged, the same bytes will not decode tomorrow either.
    return Rejection(Reason.TRUNCATED, message)


def _refusal(kind: str, data: bytes) -> str:
    """Why Pillow would not open the file, which Image.open keeps to itself."""
    factory, accept = Image.OPEN[kind]
    if accept and isinstance(accept(data[:16]), str):
        return "not supported by this build of Pillow"
    try:
        factory(io.BytesIO(data), "")
    except Exception as error:
        return str(error)
    return ""


def _cut_short(kind: str, data: bytes) -> bool:
    """Whether the file says of itself that more should follow; asked only once its decoder has failed."""
    if kind in ("WEBP", "BMP"):
        start, extra = (4, 8) if kind == "WEBP" else (2, 0)
        return int.from_bytes(data[start : start + 4], "little") + extra > len(data)
    if kind == "TIFF":
        return int.from_bytes(data[4:8], "little" if data.startswith(b"II") else "big") >= len(data)
    ending = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b";"}.get(kind, b"")
    return not data.rstrip(b"\0").endswith(ending)
