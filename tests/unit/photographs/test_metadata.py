"""Metadata of every kind and size, whole or damaged: the pixels are decoded all the same."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from tests.bad_files import encoded
from tests.unit.photographs.test_transparency import chunk
from verger.errors import Reason, Rejection
from verger.photographs import png
from verger.photographs.images import decode

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

SCENE = Image.radial_gradient("L").resize((60, 40)).convert("RGB")
PNG, JPEG = encoded(SCENE, "PNG"), encoded(SCENE, "JPEG")
LARGE = 3_000_000
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def png_with(*chunks: bytes, after: bool = False) -> bytes:
    """Before the pixels, or after them."""
    at = PNG.index(b"IEND") - 4 if after else PNG.index(b"IDAT") - 4
    return PNG[:at] + b"".join(chunks) + PNG[at:]


def damaged(whole: bytes) -> bytes:
    return whole[:-1] + bytes((whole[-1] ^ 1,))


def jpeg_with(marker: int, begin: bytes, size: int = LARGE) -> bytes:
    """Segments as long as they may be."""
    number = size // 65_000 + 1
    segments = [begin + bytes((at + 1, number)) + b"x" * 65_000 for at in range(number)]
    return JPEG[:2] + b"".join(struct.pack(">BBH", 0xFF, marker, len(s) + 2) + s for s in segments) + JPEG[2:]


def webp_with(name: bytes, content: bytes) -> bytes:
    data = encoded(SCENE, "WEBP", lossless=True, exif=b"Exif\0\0x", icc_profile=b"x", xmp=b"x")
    at = data.index(name)
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    after = data[at + 8 + size + size % 2 :]
    body = data[8:at] + name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2) + after
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff_with(tag: int, kind: int, value: Any) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[tag], tags[tag] = kind, value
    return encoded(SCENE, "TIFF", tiffinfo=tags)


ICC = chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(LARGE)))
TEXT = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * LARGE))
RAW_PROFILE = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n  9\n" + b"ab" * LARGE))
LARGE_XMP = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<x/>" + b" " * LARGE)
PNGS = {
    "profile": png_with(ICC),
    "profile, damaged": png_with(damaged(ICC)),
    "profile that does not inflate": png_with(chunk(b"iCCP", b"profile\0\0" + b"garbage")),
    "profile of an unknown compression": png_with(chunk(b"iCCP", b"profile\0\7" + b"garbage")),
    "compressed text": png_with(TEXT),
    "compressed text behind the pixels": png_with(TEXT, after=True),
    "compressed text of an unknown compression": png_with(chunk(b"zTXt", b"Comment\0\7garbage")),
    "many texts": png_with(*[chunk(b"tEXt", b"Comment\0" + b"x" * LARGE)] * 24),
    "XMP": png_with(chunk(b"iTXt", LARGE_XMP)),
    "XMP behind the pixels": png_with(chunk(b"iTXt", LARGE_XMP), after=True),
    "XMP that is not compressed": png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b" " * LARGE)),
    "EXIF as ImageMagick writes it": png_with(RAW_PROFILE),
    "EXIF": png_with(chunk(b"eXIf", b"II*\0\x08\0\0\0\0\0" + bytes(LARGE))),
    "EXIF, damaged": png_with(damaged(chunk(b"eXIf", b"II*\0\x08\0\0\0\0\0"))),
    "EXIF of no sense": png_with(chunk(b"eXIf", b"sense")),
    "gamma, short": png_with(chunk(b"gAMA", b"\0")),
    "resolution, damaged": png_with(damaged(chunk(b"pHYs", bytes(9)))),
    "private": png_with(chunk(b"prVt", bytes(LARGE)), damaged(chunk(b"prVt", b"x"))),
    "frames in a wrong order": png_with(chunk(b"acTL", struct.pack(">II", 9, 0)), chunk(b"fcTL", bytes(26))),
    "a frame that is too large": png_with(chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 999, 999, 0, 0, 1, 1, 0, 0))),
}
JPEGS = {
    "profile": jpeg_with(0xE2, b"ICC_PROFILE\0"),
    "profile in pieces that are missing": JPEG[:2] + b"\xff\xe2\0\x14ICC_PROFILE\0\1\3abcd" + JPEG[2:],
    "EXIF": jpeg_with(0xE1, b"Exif\0\0"),
    "extended XMP": jpeg_with(0xE1, b"http://ns.adobe.com/xmp/extension/\0"),
    "XMP": jpeg_with(0xE1, b"http://ns.adobe.com/xap/1.0/\0"),
    "other photographs' places": jpeg_with(0xE2, b"MPF\0"),
    "places of no sense": JPEG[:2] + b"\xff\xe2\0\x0aMPF\0II*\0" + JPEG[2:],
    "Photoshop's": jpeg_with(0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04"),
    "comment": jpeg_with(0xFE, b"comment"),
    "JFIF thumbnail": JPEG[:2] + b"\xff\xe0\0\x08JFXX\0\x10" + JPEG[2:],
    "C2PA": jpeg_with(0xEB, b"JP\0\1"),
}
WEBPS = {
    f"{name.decode().strip()}, {what}": webp_with(name, content)
    for name in (b"ICCP", b"EXIF", b"XMP ")
    for what, content in (("large", b"x" * LARGE), ("empty", b""))
}
TIFFS = {
    "profile": tiff_with(34675, 7, bytes(LARGE)),
    "XMP": tiff_with(700, 1, b"x" * LARGE),
    "IPTC": tiff_with(33723, 7, bytes(LARGE)),
    "Photoshop's": tiff_with(34377, 7, bytes(LARGE)),
    "description": tiff_with(270, 2, "x" * LARGE),
    "private": tiff_with(65_000, 7, bytes(LARGE)),
}
FILES = {
    f"{format}, {name}": (format, data)
    for format, files in (("PNG", PNGS), ("JPEG", JPEGS), ("WEBP", WEBPS), ("TIFF", TIFFS))
    for name, data in files.items()
}


@pytest.mark.parametrize("name", FILES)
def test_metadata_of_every_kind_and_size_are_no_reason_to_reject(name: str) -> None:
    format, data = FILES[name]
    decoded = decode(data, 20)
    assert (decoded.width, decoded.height) == (60, 40)
    plain = decode(encoded(SCENE, format, **({"lossless": True} if format == "WEBP" else {})), 20)
    assert (decoded.rgb == plain.rgb).all()


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("tag", [34675, 700, 270, 65_000])
def test_a_tag_of_a_tiff_that_points_out_of_the_file_does_not_matter(tag: int, big: bool) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[tag], tags[tag] = (2, "x" * 99) if tag == 270 else (7, b"x" * 99)
    data = bytearray(encoded(SCENE, "TIFF", tiffinfo=tags, big_tiff=big))
    first, entry, word = (24, 20, 8) if big else (10, 12, 4)
    entries = range(first, first + 15 * entry, entry)
    at = next(at for at in entries if data[at : at + 2] == struct.pack("<H", tag))
    data[at + 4 + word : at + 4 + 2 * word] = (len(data) - 10).to_bytes(word, "little")
    assert (decode(bytes(data), 20).width, decode(bytes(data), 20).height) == (60, 40)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    "oriented",
    [
        chunk(b"eXIf", b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP)),
    ],
    ids=["EXIF", "XMP", "compressed XMP"],
)
def test_the_orientation_is_kept_among_large_metadata(oriented: bytes, after: bool) -> None:
    decoded = decode(png_with(ICC, TEXT, oriented, chunk(b"prVt", b"x"), after=after), 20)
    assert (decoded.width, decoded.height) == (40, 60)


def test_a_png_without_metadata_is_not_copied() -> None:
    assert png.without_metadata(PNG) is PNG
    assert png.without_metadata(png_with(ICC, TEXT)) == PNG


def test_the_text_of_a_bomb_is_not_inflated() -> None:
    """64 MB of spaces are no more than the limit at a time: it would take a second, or the memory."""
    bomb = zlib.compress(bytes(PngImagePlugin.MAX_TEXT_CHUNK * 64))
    data = png_with(*[chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb)] * 3)
    assert png.without_metadata(data) == PNG


def test_a_bomb_of_pixels_is_still_rejected() -> None:
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    bomb = PNG[:8] + chunk(b"IHDR", header) + ICC + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    with pytest.raises(Rejection) as caught:
        decode(bomb, 20)
    assert caught.value.reason is Reason.TOO_LARGE


def test_a_critical_chunk_that_is_damaged_is_a_reason_to_reject() -> None:
    palette = encoded(SCENE.quantize(16), "PNG")
    for kind in (b"IHDR", b"PLTE", b"IDAT"):
        at = palette.index(kind)
        end = at + 8 + int.from_bytes(palette[at - 4 : at])
        with pytest.raises(Rejection) as caught:
            decode(palette[: end - 1] + bytes((palette[end - 1] ^ 1,)) + palette[end:], 20)
        assert caught.value.reason is Reason.TRUNCATED


def test_apng_is_read_as_its_first_frame() -> None:
    frames = [Image.new("RGB", (24, 24), colour) for colour in ("red", "lime", "blue")]
    for default in (False, True):
        data = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:], default_image=default)
        with Image.open(io.BytesIO(data)) as image:
            assert image.n_frames == 3
        assert (decode(data, 16).rgb == np.array((255, 0, 0))).all()
