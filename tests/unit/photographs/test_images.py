from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, WebPImagePlugin

from tests.bad_files import encoded, kinds, make
from verger.errors import Reason, Rejection
from verger.photographs import images
from verger.photographs.images import decode

# images.py does this when it is imported; pytest resets it for every test.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

BAD = kinds()
RED, WHITE = (255, 0, 0), (255, 255, 255)


def photograph(width: int = 60, height: int = 40) -> Image.Image:
    """Smooth, and different in every direction."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    rgb = np.stack([across, down, 255 - (across + down) / 2], axis=-1)
    return Image.fromarray(rgb.round().astype(np.uint8))


def colour(data: bytes) -> tuple[int, ...]:
    """The colour of a plain photograph, once decoded."""
    rgb = decode(data, 16).rgb
    assert (rgb == rgb[0, 0]).all()
    return tuple(rgb[0, 0].tolist())


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_rejected_for_its_reason(name: str) -> None:
    data, reason = BAD[name]
    with pytest.raises(Rejection) as caught:
        decode(data, 32)
    assert caught.value.reason is reason
    assert caught.value.message
    assert "\n" not in caught.value.message
    assert " at 0x" not in caught.value.message  # the same bytes, the same message


def test_bad_files_cover_all_permanent_reasons(tmp_path: Path) -> None:
    expected = make(tmp_path)
    assert len(expected) >= 16
    assert set(expected.values()) == {reason for reason in Reason if reason.permanent}
    assert {str(path) for path in tmp_path.iterdir()} == expected.keys()


def test_default_settings_give_the_same_pixels_as_pillow() -> None:
    data = encoded(photograph(348, 464), "JPEG")
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC))
    decoded = decode(data, 224)
    assert decoded.rgb.dtype == np.uint8
    assert (decoded.rgb == expected).all()
    assert (decoded.width, decoded.height) == (348, 464)


def test_bilinear_gives_the_same_pixels_as_pillow() -> None:
    data = encoded(photograph(), "PNG")
    expected = np.asarray(photograph().resize((24, 24), Image.Resampling.BILINEAR))
    assert (decode(data, 24, resample="bilinear").rgb == expected).all()
    assert not (decode(data, 24).rgb == expected).all()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "MPO"])
def test_every_format_is_read(format: str) -> None:
    data = encoded(photograph(), format)
    expected = np.asarray(photograph().resize((20, 20), Image.Resampling.BICUBIC)).astype(int)
    decoded = decode(data, 20)
    assert (decoded.width, decoded.height) == (60, 40)
    assert np.abs(decoded.rgb - expected).mean() < 12  # a GIF has 256 colours


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encoded(Image.new("L", (20, 20), 90), "PNG"), (90, 90, 90)),
        (encoded(Image.new("L", (20, 20), 90), "JPEG"), (90, 90, 90)),
        (encoded(Image.new("1", (20, 20), 1), "PNG"), WHITE),
        (encoded(Image.new("1", (20, 20), 0), "TIFF"), (0, 0, 0)),
        (encoded(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), "TIFF"), RED),
        (encoded(Image.new("YCbCr", (20, 20), (76, 85, 255)), "TIFF"), (254, 0, 0)),
        (encoded(Image.new("RGB", (20, 20), RED).convert("P"), "PNG"), RED),
        (encoded(Image.new("LAB", (20, 20), (128, 128, 128)), "TIFF"), (119, 119, 119)),
    ],
    ids=["grey-png", "grey-jpeg", "one-bit-white", "one-bit-black", "cmyk", "ycbcr", "palette", "lab"],
)
def test_modes_become_rgb(data: bytes, expected: tuple[int, ...]) -> None:
    assert colour(data) == expected


def test_cmyk_jpeg_red_is_red() -> None:
    red = decode(encoded(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "JPEG", quality=95), 8).rgb
    assert np.abs(red.astype(int) - RED).max() <= 3


def grey16(value: int, dtype: str = "<u2") -> Image.Image:
    return Image.fromarray(np.full((20, 20), value, dtype))


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (300, 1), (32768, 128), (32639, 127), (65535, 255)])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bits_are_scaled_not_clipped(format: str, value: int, expected: int) -> None:
    assert colour(encoded(grey16(value), format)) == (expected,) * 3


def test_16_bits_big_endian_are_scaled() -> None:
    big_endian = Image.frombytes("I;16B", (20, 20), np.full((20, 20), 32768, ">u2").tobytes())
    assert colour(encoded(big_endian, "TIFF")) == (128, 128, 128)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.full((20, 20), 32768, np.int32), 128),  # 16-bit content in 32 bits
        (np.full((20, 20), 2**30, np.int32), 255),  # brighter than 16 bits: its brightest is white
        (np.full((20, 20), 0.5, np.float32), 128),
        (np.full((20, 20), 100.0, np.float32), 100),
        (np.full((20, 20), 25700.0, np.float32), 100),
        (np.full((20, 20), np.nan, np.float32), 0),
        (np.full((20, 20), -5.0, np.float32), 0),
    ],
)
def test_32_bits_and_floats_are_scaled_by_their_range(values: np.ndarray, expected: int) -> None:
    assert colour(encoded(Image.fromarray(values), "TIFF")) == (expected,) * 3


def test_transparent_parts_become_white() -> None:
    half_red = (255, 127, 127)
    assert colour(encoded(Image.new("RGBA", (20, 20), (0, 0, 255, 0)), "PNG")) == WHITE
    assert colour(encoded(Image.new("RGBA", (20, 20), (255, 0, 0, 128)), "PNG")) == half_red
    assert colour(encoded(Image.new("RGBA", (20, 20), (255, 0, 0, 128)), "WEBP", lossless=True)) == half_red
    assert colour(encoded(Image.new("LA", (20, 20), (0, 0)), "PNG")) == WHITE
    assert colour(encoded(Image.new("LA", (20, 20), (60, 255)), "PNG")) == (60, 60, 60)


def test_a_transparent_colour_becomes_white() -> None:
    palette = Image.new("RGB", (20, 20), RED).convert("P")
    index = palette.getpixel((0, 0))
    assert colour(encoded(palette, "PNG", transparency=index)) == WHITE
    assert colour(encoded(palette, "GIF", transparency=index)) == WHITE
    assert colour(encoded(Image.new("L", (20, 20), 7), "PNG", transparency=7)) == WHITE
    assert colour(encoded(Image.new("RGB", (20, 20), RED), "PNG", transparency=RED)) == WHITE
    assert colour(encoded(grey16(32768), "PNG", transparency=32768)) == WHITE
    assert colour(encoded(grey16(32768), "PNG", transparency=32767)) == (128, 128, 128)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "MPO"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation: int, format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if format == "WEBP" else {}
    data = encoded(photograph(), format, exif=exif, **lossless)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        upright = ImageOps.exif_transpose(image).convert("RGB")
    decoded = decode(data, 30)
    assert (decoded.width, decoded.height) == ((60, 40) if orientation <= 4 else (40, 60))
    assert (decoded.rgb == np.asarray(upright.resize((30, 30), Image.Resampling.BICUBIC))).all()


def test_orientation_six_turns_to_the_right() -> None:
    """Checked without Pillow: with orientation 6, the first row of the file is the right side of the photograph."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20] = RED
    rgb = decode(encoded(Image.fromarray(pixels), "PNG", exif=exif), 20).rgb
    assert tuple(rgb[10, -1]) == RED
    assert tuple(rgb[10, 0]) == (0, 0, 0)


def test_orientation_in_xmp_is_honoured() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    decoded = decode(encoded(photograph(), "JPEG", xmp=xmp), 16)
    assert (decoded.width, decoded.height) == (40, 60)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", b"Exif\0\0"])
def test_photographs_with_damaged_exif_are_decoded(exif: bytes) -> None:
    decoded = decode(encoded(photograph(), "JPEG", exif=exif), 16)
    assert (decoded.width, decoded.height) == (60, 40)


def test_orientation_is_honoured_beside_a_damaged_tag() -> None:
    orientation, maker = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0), struct.pack("<HHIf", 0x010F, 11, 1, 0.5)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + maker + orientation + bytes(4)
    data = encoded(photograph(), "JPEG", exif=exif)
    with Image.open(io.BytesIO(data)) as image, pytest.raises(AttributeError):
        ImageOps.exif_transpose(image)  # a maker that is no text cannot be written again
    decoded = decode(data, 16)
    assert (decoded.width, decoded.height) == (40, 60)
    with Image.open(io.BytesIO(data)) as image:
        upright = image.transpose(Image.Transpose.ROTATE_270).resize((16, 16), Image.Resampling.BICUBIC)
    assert (decoded.rgb == np.asarray(upright)).all()


def test_memory_error_while_turning_is_not_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(photograph(), "JPEG", exif=exif)
    monkeypatch.setattr(ImageOps, "exif_transpose", fail)
    with pytest.raises(Rejection) as caught:
        decode(data, 16)
    assert caught.value.reason is Reason.UNREADABLE


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_once(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    png, tiff = (encoded(photograph(), format, exif=exif) for format in ("PNG", "TIFF"))
    deflated = encoded(photograph(), "TIFF", exif=exif, compression="tiff_deflate")
    for data in (tiff, deflated):
        assert (decode(data, 16).rgb == decode(png, 16).rgb).all()


def test_transparent_palette_is_kept_when_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    palette = Image.new("RGB", (20, 30), RED).convert("P")
    assert colour(encoded(palette, "PNG", exif=exif, transparency=palette.getpixel((0, 0)))) == WHITE


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_first_frame_of_several_is_taken(format: str) -> None:
    frames = [Image.new("RGB", (24, 24), colour) for colour in (RED, (0, 255, 0), (0, 0, 255))]
    lossless = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **lossless)
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 3
    assert np.abs(decode(data, 16).rgb.astype(int) - RED).max() <= 2


def test_crop_keeps_the_middle() -> None:
    pixels = np.zeros((40, 120, 3), np.uint8)
    pixels[:, 40:80] = 200
    decoded = decode(encoded(Image.fromarray(pixels), "PNG"), 40, fit="crop")
    assert (decoded.rgb == 200).all()
    assert (decoded.width, decoded.height) == (120, 40)


def test_pad_adds_white() -> None:
    rgb = decode(encoded(Image.new("RGB", (80, 40), RED), "PNG"), 40, fit="pad").rgb
    assert (rgb[:10] == 255).all() and (rgb[30:] == 255).all()
    assert (rgb[10:30] == RED).all()


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("edges", [(3000, 8), (8, 3000), (8, 8), (9, 31)])
def test_every_shape_becomes_a_square(fit: str, edges: tuple[int, int]) -> None:
    decoded = decode(encoded(Image.new("RGB", edges, RED), "PNG"), 20, fit=fit)
    assert decoded.rgb.shape == (20, 20, 3)
    assert (decoded.rgb == RED).all(axis=-1).any()
    assert (decoded.width, decoded.height) == edges


def test_unknown_filter_or_fit_is_not_a_rejection() -> None:
    data = encoded(photograph(), "PNG")
    with pytest.raises(KeyError):
        decode(data, 20, resample="nearest")
    with pytest.raises(KeyError):
        decode(data, 20, fit="squeeze")


def test_many_pixels_within_the_limit_are_decoded_without_a_warning() -> None:
    # From 89 megapixels on Pillow warns.
    code = (
        "import io; from PIL import Image; from verger.photographs.images import decode; file = io.BytesIO();"
        "Image.new('1', (10_000, 9_000), 1).save(file, 'PNG'); print(decode(file.getvalue(), 8).width)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("10000\n", "")


def test_too_large_photographs_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 60 * 40 - 1)
    cut = encoded(photograph(), "JPEG")[:-200]  # would be `truncated` if its pixels were looked at
    with pytest.raises(Rejection) as caught:
        decode(cut, 16)
    assert caught.value.reason is Reason.TOO_LARGE


def test_too_many_bytes_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(photograph(), "PNG")
    monkeypatch.setattr(images, "MAX_BYTES", len(data))
    decode(data, 16)
    with pytest.raises(Rejection) as caught:
        decode(data + b"\0", 16)
    assert caught.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), Reason.UNREADABLE),
        (ValueError("odd"), Reason.TRUNCATED),
        (RecursionError(), Reason.TRUNCATED),
        (OSError("disk"), Reason.TRUNCATED),
        (SyntaxError("x"), Reason.TRUNCATED),
    ],
)
def test_every_exception_of_a_decoder_becomes_a_rejection(
    error: Exception, reason: Reason, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Image.Image, "resize", fail)
    with pytest.raises(Rejection) as caught:
        decode(encoded(photograph(), "PNG"), 16)
    assert caught.value.reason is reason


def test_format_that_this_build_of_pillow_cannot_read_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(photograph(), "WEBP")
    monkeypatch.setattr(WebPImagePlugin, "SUPPORTED", False)
    with pytest.raises(Rejection) as caught:
        decode(data, 16)
    assert caught.value.reason is Reason.UNSUPPORTED_FORMAT


def test_heif_is_decoded_with_the_extra() -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra verger[heic] is not installed")
    pillow_heif.register_heif_opener()
    data = encoded(Image.new("RGB", (64, 48), RED), "HEIF")
    decoded = decode(data, 16)
    assert (decoded.width, decoded.height) == (64, 48)
    assert np.abs(decoded.rgb.astype(int) - RED).max() <= 3
    for cut in range(12, len(data), 3):
        with pytest.raises(Rejection) as caught:
            decode(data[:cut], 16)
        assert caught.value.reason is Reason.TRUNCATED


def test_decoding_in_threads_gives_the_same() -> None:
    files = [encoded(photograph(60 + at, 40), format) for at in range(6) for format in ("JPEG", "PNG", "WEBP", "TIFF")]
    alone = [decode(data, 32).rgb for data in files]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda data: decode(data, 32).rgb, files * 4))
    assert all((rgb == alone[at % len(alone)]).all() for at, rgb in enumerate(together))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "MPO"])
def test_damaged_files_raise_nothing_but_rejections(format: str) -> None:
    draw = random.Random(format)
    whole = encoded(photograph(), format)
    outcomes = []
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(draw.choice((1, 3, 10))):
            data[draw.randrange(draw.choice((len(data), 64)))] = draw.randrange(256)
        if draw.random() < 0.3:
            del data[draw.randrange(len(data)) :]
        try:
            outcomes.append(decode(bytes(data), 16).rgb.shape == (16, 16, 3))
        except Rejection:
            outcomes.append(False)
    assert set(outcomes) == {True, False}  # some got through, some did not


@pytest.mark.parametrize("format", ["JPEG", "MPO"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_cut_anywhere_is_truncated(format: str, progressive: bool) -> None:
    data = encoded(photograph(), format, progressive=progressive)
    for length in range(2, len(data)):
        with pytest.raises(Rejection) as caught:
            decode(data[:length], 16)
        assert caught.value.reason is Reason.TRUNCATED


def test_png_is_decoded_if_its_pixels_are_complete() -> None:
    data = encoded(photograph(), "PNG")
    assert (decode(data[:-12], 16).rgb == decode(data, 16).rgb).all()  # but for the chunk that says it ends
    for length in range(4, len(data) - 40):
        with pytest.raises(Rejection) as caught:
            decode(data[:length], 16)
        assert caught.value.reason is Reason.TRUNCATED


def test_real_photographs_give_the_same_pixels_as_pillow(data: Path) -> None:
    paths = sorted((data / "grocery").rglob("*.jpg"))[::40] + sorted((data / "fruits").rglob("*.jpg"))[::500]
    for path in paths:
        with Image.open(path) as image:
            expected = np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC))
        assert (decode(path.read_bytes(), 224).rgb == expected).all(), path


def test_a_thumbnail_is_small_and_upright_and_has_no_metadata() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned
    exif[0x010F] = "SECRET maker"
    red = Image.new("RGB", (400, 200), "red")
    sink = io.BytesIO()
    red.save(sink, "JPEG", exif=exif, comment=b"SECRET comment", icc_profile=b"SECRET profile")
    assert b"SECRET" in sink.getvalue()
    small = images.thumbnail(sink.getvalue(), 96)
    assert b"SECRET" not in small
    assert b"Exif" not in small
    with Image.open(io.BytesIO(small)) as image:
        assert (image.format, image.size) == ("JPEG", (48, 96))
