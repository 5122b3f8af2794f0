"""Files that are named like photographs and are none, each of another kind."""

from __future__ import annotations

import importlib.util
import io
import struct
import zlib
from pathlib import Path
from typing import Any

from PIL import Image

from verger.errors import Reason


def make(folder: str | Path) -> dict[str, Reason]:
    """Write one file of each kind into ``folder``, and tell the reason for which it must be rejected, by path."""
    folder = Path(folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    expected = {}
    for name, (data, reason) in kinds().items():
        (folder / name).write_bytes(data)
        expected[str(folder / name)] = reason
    return expected


def kinds() -> dict[str, tuple[bytes, Reason]]:
    """Content and reason of each kind, by file name."""
    fruit = Image.radial_gradient("L").resize((96, 72)).convert("RGB")
    jpeg, png = encoded(fruit, "JPEG"), encoded(fruit, "PNG")
    progressive = encoded(fruit, "JPEG", progressive=True)
    contents = {
        Reason.EMPTY: {"empty.jpg": b"", "empty.png": b""},
        Reason.NOT_AN_IMAGE: {
            "text.jpg": b"Buy apples.\n",
            "page.png": b"<!DOCTYPE html><html><body><svg></svg>404 Not Found</body></html>",
            "paper.jpeg": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
            "archive.gif": b"PK\x03\x04\x14\x00\x00\x00\x08\x00" + bytes(64),
            "film.heic": b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2mp41" + bytes(64),
            "zeros.bmp": bytes(4096),
            "one_byte.jpg": b"\xff",
        },
        Reason.TRUNCATED: {
            "damaged_header.png": _changed(png, 17, b"\x01"),
            "damaged_pixels.png": _changed(png, 200, bytes(100)),
            "damaged_tables.jpg": _changed(jpeg, jpeg.index(b"\xff\xdb") + 4, b"\x2f"),
            "damaged.webp": _changed(encoded(fruit, "WEBP", lossless=True), 25, b"\xaa" * 100),
            "cut_in_header.jpg": jpeg[:100],
            "cut_in_half.jpg": jpeg[: len(jpeg) // 2],
            "cut_progressive.jpg": progressive[: len(progressive) * 3 // 4],
            "no_end_marker.jpg": jpeg[:-2],
            "cut_in_half.png": png[: len(png) // 2],
            "cut_in_signature.png": png[:6],
            "cut.gif": encoded(fruit, "GIF")[:1000],
            "cut.webp": encoded(fruit, "WEBP")[:-50],
            "cut.avif": encoded(fruit, "AVIF")[:-200],
            "modern.heic": b"\x00\x00\x00\x1cftypavif" + bytes(64),
            "cut.bmp": encoded(fruit, "BMP")[:-5000],
            "cut.tif": encoded(fruit, "TIFF")[:5000],
            "cut_deflated.tiff": encoded(fruit, "TIFF", compression="tiff_deflate")[:500],
        },
        Reason.UNSUPPORTED_FORMAT: {
            "photoshop.jpg": b"8BPS\x00\x01" + bytes(64),
            "drawing.png": b'<?xml version="1.0"?>\n<!-- apple -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
            "jpeg2000.jpg": b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(64),
            "raw.tif": b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(64),
            "twelve_bits.jpg": _changed(jpeg, jpeg.index(b"\xff\xc0") + 4, b"\x0c"),
        },
        Reason.TOO_LARGE: {
            "bomb.png": _png_header(50_000, 50_000),
            "over_the_limit.png": encoded(Image.new("1", (12_000, 10_001)), "PNG"),
        },
        Reason.TOO_SMALL: {
            "pixel.gif": encoded(Image.new("P", (1, 1)), "GIF"),
            "sliver.png": encoded(Image.new("RGB", (200, 7)), "PNG"),
        },
    }
    heif = Reason.UNSUPPORTED_FORMAT if importlib.util.find_spec("pillow_heif") is None else Reason.TRUNCATED
    contents[heif]["phone.heic"] = b"\x00\x00\x00\x1cftypheic\x00\x00\x00\x00mif1heicmiaf\x00\x00\x01\x56meta"
    return {name: (data, reason) for reason, files in contents.items() for name, data in files.items()}


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    """An image as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def _changed(data: bytes, at: int, by: bytes) -> bytes:
    """The same bytes but for a few."""
    return data[:at] + by + data[at + len(by) :]


def _png_header(width: int, height: int) -> bytes:
    """The few bytes of a PNG that claims to be as large as that."""
    header = struct.pack(">4sIIBBBBB", b"IHDR", width, height, 8, 2, 0, 0, 0)
    pixels = struct.pack(">I4sI", 0, b"IDAT", zlib.crc32(b"IDAT"))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + pixels
