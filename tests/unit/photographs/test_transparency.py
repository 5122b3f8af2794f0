"""Transparent parts become white, in every mode that a file can have them in."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.bad_files import encoded
from verger.errors import Reason, Rejection
from verger.photographs.images import decode, thumbnail

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

EDGE, HALF = 16, 8
COLOURS = bytes(value % 251 for value in range(3 * 256))  # a palette


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(depth: int, colours: int, left: bytes, right: bytes, transparent: bytes = b"") -> bytes:
    """A PNG of two halves, of the rows' bytes: each half is one such row."""
    header = struct.pack(">IIBBBBB", EDGE, EDGE, depth, colours, 0, 0, 0)
    rows = zlib.compress((b"\0" + left + right) * EDGE)
    palette = chunk(b"PLTE", COLOURS[: 3 * 2**depth]) if colours == 3 else b""
    clear = chunk(b"tRNS", transparent) if transparent else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + clear + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def bits(value: int, depth: int) -> bytes:
    """Eight pixels of less than 16 bits."""
    return int(f"{value:0{depth}b}" * HALF, 2).to_bytes(depth)


def two_halves(left: tuple[int, ...], right: tuple[int, ...], dtype: str = "u1") -> np.ndarray:
    pixels = np.empty((EDGE, EDGE, len(left)), dtype)
    pixels[:, :HALF], pixels[:, HALF:] = left, right
    return pixels


def tiff(pixels: np.ndarray, alpha: int, photometric: int) -> bytes:
    """A TIFF without compression; alpha 1 is associated (colours are multiplied by it), 2 is not."""
    (height, width, channels), content, depth = pixels.shape, pixels.tobytes(), 8 * pixels.itemsize
    depths = struct.pack(f"<{channels}H", *[depth] * channels)
    tags = [(256, width), (257, height), (258, depths), (259, 1), (262, photometric), (273, None), (277, channels)]
    tags += [(278, height), (279, len(content)), (284, 1), (338, alpha)]
    after = 8 + 2 + 12 * len(tags) + 4
    entries = b""
    for tag, value in tags:
        if isinstance(value, bytes):
            inline = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", after)
            entries += struct.pack("<HHI", tag, 3, channels) + inline
        else:
            entries += struct.pack("<HHII", tag, 4, 1, after + 8 if value is None else value)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + depths.ljust(8, b"\0") + content


CLEAR_BLUE, OPAQUE_RED = (0, 0, 255, 0), (200, 10, 10, 255)
CUT_OUT = Image.fromarray(two_halves(CLEAR_BLUE, OPAQUE_RED))
GREY_CUT_OUT = Image.fromarray(two_halves((70, 0), (200, 255)))
MULTIPLIED = two_halves((0, 0, 0, 0), OPAQUE_RED)
RED = OPAQUE_RED[:3]

RGB16 = struct.pack(">HHH", 0x1234, 0x5678, 0x9ABC)
NEARLY_RGB16 = struct.pack(">HHH", 0x1234, 0x5678, 0x9ABD)

# Files whose left half is transparent, and the colour of their right half.
FILES: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "1 bit": (png(1, 0, b"\xff", b"\0", struct.pack(">H", 1)), (0, 0, 0)),
    "1 bit, black": (png(1, 0, b"\0", b"\xff", struct.pack(">H", 0)), (255, 255, 255)),
    "2 bits": (png(2, 0, bits(1, 2), bits(2, 2), struct.pack(">H", 1)), (170, 170, 170)),
    "4 bits": (png(4, 0, bits(3, 4), bits(9, 4), struct.pack(">H", 3)), (153, 153, 153)),
    "8 bits": (png(8, 0, bits(70, 8), bits(71, 8), struct.pack(">H", 70)), (71, 71, 71)),
    "16 bits": (png(16, 0, b"\x12\x34" * 8, b"\x12\x35" * 8, b"\x12\x34"), (18, 18, 18)),
    "palette of 1 bit": (png(1, 3, b"\xff", b"\0", bytes((255, 0))), (0, 1, 2)),
    "palette of 2 bits": (png(2, 3, bits(1, 2), bits(2, 2), bytes((255, 0))), (6, 7, 8)),
    "palette of 4 bits": (png(4, 3, bits(3, 4), bits(9, 4), bytes((255, 255, 255, 0))), (27, 28, 29)),
    "palette of 8 bits": (png(8, 3, bits(3, 8), bits(9, 8), bytes((255, 255, 255, 0))), (27, 28, 29)),
    "palette with several alphas": (png(8, 3, bits(3, 8), bits(9, 8), bytes((9, 90, 200, 0))), (27, 28, 29)),
    "rgb": (png(8, 2, b"\x09\x08\x07" * 8, b"\x09\x08\x06" * 8, bytes((0, 9, 0, 8, 0, 7))), (9, 8, 6)),
    "rgb of 16 bits": (png(16, 2, RGB16 * 8, NEARLY_RGB16 * 8, RGB16), (18, 86, 154)),
    "grey of 16 bits with alpha": (png(16, 4, b"\x12\x34\0\0" * 8, b"\x80\0\xff\xff" * 8), (128, 128, 128)),
    "rgb of 16 bits with alpha": (
        png(16, 6, (b"\x12\x34" * 3 + b"\0\0") * 8, (b"\x80\0\0\0\0\0\xff\xff") * 8),
        (128, 0, 0),
    ),
    "rgba png": (encoded(CUT_OUT, "PNG"), RED),
    "grey png with alpha": (encoded(GREY_CUT_OUT, "PNG"), (200, 200, 200)),
    "rgba webp": (encoded(CUT_OUT, "WEBP", lossless=True), RED),
    "lossy webp": (encoded(CUT_OUT, "WEBP"), RED),
    "avif": (encoded(CUT_OUT, "AVIF"), RED),
    "gif": (encoded(CUT_OUT, "GIF"), RED),
    "rgba tiff": (encoded(CUT_OUT, "TIFF"), RED),
    "deflated rgba tiff": (encoded(CUT_OUT, "TIFF", compression="tiff_deflate"), RED),
    "rgba tiff, associated": (tiff(MULTIPLIED, 1, 2), RED),
    "rgba tiff of 16 bits": (tiff(np.asarray(CUT_OUT).astype("<u2") * 257, 2, 2), RED),
    "rgba tiff of 16 bits, associated": (tiff(MULTIPLIED.astype("<u2") * 257, 1, 2), RED),
    "grey tiff with alpha": (tiff(np.asarray(GREY_CUT_OUT), 2, 1), (200, 200, 200)),
    "grey tiff with alpha, associated": (tiff(two_halves((0, 0), (200, 255)), 1, 1), (200, 200, 200)),
}


@pytest.mark.parametrize("mode", FILES)
def test_the_transparent_half_is_white_and_the_other_as_it_was(mode: str) -> None:
    data, expected = FILES[mode]
    rgb = decode(data, EDGE).rgb.astype(int)
    assert (rgb[:, : HALF - 2] == 255).all()
    assert np.abs(rgb[:, HALF + 2 :] - expected).max() <= 2


def test_a_thumbnail_is_white_there_too() -> None:
    for mode in ("16 bits", "4 bits", "rgb of 16 bits"):
        with Image.open(io.BytesIO(thumbnail(FILES[mode][0], EDGE))) as small:
            assert np.asarray(small)[:, : HALF - 4].min() > 245


def test_half_transparent_associated_colours_are_mixed_once() -> None:
    half = two_halves((100, 5, 5, 128), (100, 5, 5, 128))
    assert np.abs(decode(tiff(half, 1, 2), EDGE).rgb.astype(int) - (227, 132, 132)).max() <= 2


def test_an_interlaced_photograph_of_16_bits_has_its_transparent_colour() -> None:
    passes = [(2, 2), (2, 2), (4, 2), (4, 4), (8, 4), (8, 8), (16, 8)]  # width and height of each, of 16 x 16 pixels
    rows = zlib.compress(b"".join((b"\0" + RGB16 * width) * height for width, height in passes))
    header = struct.pack(">IIBBBBB", EDGE, EDGE, 16, 2, 0, 0, 1)
    interlaced = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"tRNS", RGB16) + chunk(b"IDAT", rows)
    assert (decode(interlaced + chunk(b"IEND", b""), EDGE).rgb == 255).all()


def test_grey_of_16_bits_with_alpha_in_a_tiff_is_told_to_be_unsupported() -> None:
    with pytest.raises(Rejection) as caught:
        decode(tiff(np.asarray(GREY_CUT_OUT).astype("<u2") * 257, 2, 1), EDGE)
    assert caught.value.reason is Reason.UNSUPPORTED_FORMAT
