"""JPEGs that are decoded at a smaller size than their own."""

from __future__ import annotations

import io
import os
import random
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.bad_files import encoded, kinds
from tests.unit.photographs.test_damage import KINDS
from verger.errors import Reason, Rejection
from verger.photographs import images
from verger.photographs.images import decode

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

BAD = kinds()
JPEGS = {kind: data for kind, data in KINDS.items() if ("jpeg" in kind and "tiff" not in kind) or kind == "mpo"}
SIZE = 16


def scene(width: int, height: int) -> Image.Image:
    """Different in every direction, with some detail."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    waves = 127 + 127 * np.sin(across / 7) * np.cos(down / 5)
    return Image.fromarray(np.stack([across, down, waves], axis=-1).round().astype(np.uint8))


@pytest.fixture
def reserved(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pixels memory was reserved for, photograph by photograph."""
    seen: list[int] = []

    class Recorded:
        @contextmanager
        def reserve(self, pixels: int) -> Iterator[None]:
            seen.append(pixels)
            yield

    monkeypatch.setattr(images, "_BUDGET", Recorded())
    return seen


@pytest.mark.parametrize(
    ("fit", "edges", "decoded"),
    [
        ("stretch", (63, 63), (63, 63)),
        ("stretch", (64, 63), (64, 63)),
        ("stretch", (64, 64), (32, 32)),
        ("stretch", (2000, 63), (2000, 63)),
        ("stretch", (90, 65), (45, 33)),
        ("stretch", (127, 400), (64, 200)),
        ("stretch", (128, 400), (32, 100)),
        ("stretch", (255, 256), (64, 64)),
        ("stretch", (256, 257), (32, 33)),
        ("stretch", (3000, 4000), (375, 500)),
        ("crop", (64, 63), (64, 63)),
        ("crop", (90, 65), (45, 33)),
        ("crop", (4000, 255), (1000, 64)),
        ("pad", (63, 8), (63, 8)),
        ("pad", (64, 8), (32, 4)),
        ("pad", (400, 65), (50, 9)),
        ("pad", (9, 3000), (2, 375)),
    ],
)
def test_the_size_at_which_a_jpeg_is_decoded(
    fit: str, edges: tuple[int, int], decoded: tuple[int, int], reserved: list[int]
) -> None:
    """Never at less than twice the network's, for the edge that counts."""
    found = decode(encoded(scene(*edges), "JPEG"), SIZE, fit=fit, decoding="scaled")
    assert reserved == [decoded[0] * decoded[1]]
    assert (found.width, found.height) == edges
    assert found.rgb.shape == (SIZE, SIZE, 3)


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("edges", [(60, 63), (31, 17), (63, 31)])
def test_a_small_jpeg_has_the_same_pixels_as_with_full_decoding(fit: str, edges: tuple[int, int]) -> None:
    data = encoded(scene(*edges), "JPEG")
    full, scaled = (decode(data, 32, fit=fit, decoding=decoding) for decoding in ("full", "scaled"))
    assert (full.rgb == scaled.rgb).all()
    assert full[1:] == scaled[1:]


@pytest.mark.parametrize("format", ["PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"])
def test_other_formats_are_decoded_in_full(format: str, reserved: list[int]) -> None:
    data = encoded(scene(320, 240), format)
    full, scaled = (decode(data, SIZE, decoding=decoding) for decoding in ("full", "scaled"))
    assert (full.rgb == scaled.rgb).all()
    assert reserved == [320 * 240] * 2


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("edges", [(1200, 900), (900, 1203), (2501, 640)])
def test_it_is_much_like_full_decoding(fit: str, edges: tuple[int, int]) -> None:
    data = encoded(scene(*edges), "JPEG", quality=95)
    full, scaled = (decode(data, 64, fit=fit, decoding=decoding).rgb.astype(int) for decoding in ("full", "scaled"))
    assert not (full == scaled).all()
    assert np.abs(full - scaled).mean() < 1
    assert np.abs(full - scaled).max() <= 10


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize(("size", "by"), [(60, 2), (30, 4), (15, 8)])
def test_the_pixels_are_those_of_pillow(kind: str, size: int, by: int) -> None:
    with Image.open(io.BytesIO(JPEGS[kind])) as image:
        image.draft(None, (320 // by, 240 // by))
        assert image.size == (320 // by, 240 // by)
        expected = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))
    assert (decode(JPEGS[kind], size, decoding="scaled").rgb == expected).all()


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_odd_edges_and_every_sampling_of_colours(sampling: str) -> None:
    data = encoded(scene(317, 233), "JPEG", subsampling=sampling)
    with Image.open(io.BytesIO(data)) as image:
        image.draft(None, (317 // 4, 233 // 4))
        assert image.size == (80, 59)
        expected = np.asarray(image.resize((24, 24), Image.Resampling.BICUBIC, (0, 0, 317 / 4, 233 / 4)))
    assert (decode(data, 24, decoding="scaled").rgb == expected).all()


def test_cmyk_red_is_red() -> None:
    red = encoded(Image.new("CMYK", (320, 240), (0, 255, 255, 0)), "JPEG", quality=95)
    assert np.abs(decode(red, 8, decoding="scaled").rgb.astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("edges", [(340, 260), (257, 260), (321, 258)])
def test_exif_orientation_is_honoured(orientation: int, edges: tuple[int, int]) -> None:
    """The second is decoded as a square, which does not tell whether it was turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(scene(*edges), "JPEG", exif=exif, quality=95)
    found, full = (decode(data, 32, decoding=decoding) for decoding in ("scaled", "full"))
    assert found[1:] == full[1:] == (edges if orientation <= 4 else edges[::-1])
    assert np.abs(found.rgb.astype(int) - full.rgb).mean() < 1


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_edges_that_are_no_multiple_of_the_reduction(orientation: int, fit: str) -> None:
    """The last column and row decoded are of the photograph only in part: a line stays where it was."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    lines = Image.new("RGB", (257, 257), "black")
    lines.paste("white", (0, 120, 257, 136))
    lines.paste("white", (184, 0, 200, 257))
    data = encoded(lines, "JPEG", exif=exif, quality=98, subsampling=0)
    found, full = (decode(data, 16, fit=fit, decoding=decoding).rgb.astype(int) for decoding in ("scaled", "full"))
    assert np.abs(found - full).max() <= 8


def test_orientation_in_xmp_is_honoured() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    found = decode(encoded(scene(260, 257), "JPEG", xmp=xmp), SIZE, decoding="scaled")
    assert (found.width, found.height) == (257, 260)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", b"Exif\0\0"])
def test_damaged_exif_is_passed_over(exif: bytes) -> None:
    found = decode(encoded(scene(260, 257), "JPEG", exif=exif), SIZE, decoding="scaled")
    assert (found.width, found.height) == (260, 257)


def test_orientation_is_honoured_beside_a_damaged_tag() -> None:
    orientation, maker = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0), struct.pack("<HHIf", 0x010F, 11, 1, 0.5)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + maker + orientation + bytes(4)
    data = encoded(scene(260, 257), "JPEG", exif=exif)
    found, full = (decode(data, SIZE, decoding=decoding) for decoding in ("scaled", "full"))
    assert (found.width, found.height) == (full.width, full.height) == (257, 260)


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_rejected_for_the_same_reason(name: str) -> None:
    data, reason = BAD[name]
    with pytest.raises(Rejection) as caught:
        decode(data, 8, decoding="scaled")
    assert caught.value.reason is reason


@pytest.mark.parametrize("size", [60, 30, 15])
@pytest.mark.parametrize("kind", JPEGS)
def test_damage_is_noticed_as_by_full_decoding(kind: str, size: int) -> None:
    """320x240 pixels, decoded at a half, a quarter and an eighth; of an eighth, most frequencies are not needed."""
    whole, draw = JPEGS[kind], random.Random(kind)
    begin = whole.index(b"\xff\xda") + 14
    damaged = []
    for length in (1, 64, 512, 4096) * 10:
        at = draw.randrange(begin, len(whole) - 100 - length)
        lost = bytes(length) if draw.random() < 0.5 else draw.randbytes(length)
        damaged.append(whole[:at] + lost + whole[at + length :])
    for _ in range(10):
        at = draw.randrange(begin, len(whole) - 600)
        damaged += [whole[:at] + whole[at + 500 :], whole[:at]]
    found = {decoding: [rejection(data, size, decoding) for data in damaged] for decoding in ("full", "scaled")}
    assert found["scaled"] == found["full"]
    assert sum(map(bool, found["full"])) >= 30


def rejection(data: bytes, size: int, decoding: str) -> str:
    """Why a photograph is rejected; empty where it is not."""
    try:
        decode(data, size, decoding=decoding)
    except Rejection as rejected:
        assert rejected.reason is Reason.TRUNCATED
        return rejected.message
    return ""


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_cut_anywhere_is_truncated(progressive: bool) -> None:
    data = encoded(scene(80, 72), "JPEG", progressive=progressive)
    for length in range(2, len(data), 3):
        with pytest.raises(Rejection) as caught:
            decode(data[:length], 8, decoding="scaled")
        assert caught.value.reason is Reason.TRUNCATED


def test_oddities_of_cameras_are_no_damage() -> None:
    """Where the decoder warns for nothing, Pillow decodes: at the same size, and the same pixels."""
    data = KINDS["jpeg"]
    expected = decode(data, 30, decoding="scaled").rgb
    for odd in (
        data[:20] + b"stray bytes" + data[20:],
        data[:-2] + bytes(20_000) + data[-2:],
        data[:-2] + b"\1\2\3\4" + data[-2:],
        data.replace(b"JFIF\0\1\1", b"JFIF\0\3\1"),
    ):
        assert (decode(odd, 30, decoding="scaled").rgb == expected).all()


def test_more_restart_intervals_than_the_photograph_has_are_no_damage() -> None:
    whole = KINDS["jpeg with restarts"]
    more = whole[:-2]
    for interval in range(15, 20):
        more += bytes((0xFF, 0xD0 + (interval - 1) % 8)) + bytes(range(1, 200)) * 3
    scaled = (decode(data, 30, decoding="scaled").rgb for data in (more + b"\xff\xd9", whole))
    assert (next(scaled) == next(scaled)).all()


@pytest.mark.parametrize("times", [1 / 2, 2, 4])
def test_two_frames_that_do_not_agree_are_no_photograph(times: float) -> None:
    """Pillow believes the last, libjpeg the first, which might be decoded at the size that the last asks for."""
    whole = KINDS["jpeg"]
    frame = whole.index(b"\xff\xc0")
    other = bytearray(whole[frame : frame + 19])
    other[5:9] = struct.pack(">HH", int(240 * times), int(320 * times))
    assert rejection(whole[:frame] + bytes(other) + whole[frame:], 15, "scaled")


def in_scans(data: bytes) -> bytes:
    """A sequential JPEG with a scan for each colour, as libjpeg holds in memory whole: of a grey one, three times."""
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    size = data[frame + 5 : frame + 9]
    components = b"".join(bytes((number, 0x11, 0)) for number in (1, 2, 3))
    header = b"\xff\xc0" + struct.pack(">HB", 17, 8) + size + b"\3" + components
    codes = data[scan + 10 : -2]
    scans = b"".join(b"\xff\xda\0\x08\1" + bytes((number, 0, 0, 63, 0)) + codes for number in (1, 2, 3))
    return data[:frame] + header + data[frame + 13 : scan] + scans + b"\xff\xd9"


def test_a_jpeg_in_several_scans_counts_whole(reserved: list[int]) -> None:
    """libjpeg holds all of it in memory, at whatever size it is decoded."""
    files = [
        encoded(scene(320, 240), "JPEG", progressive=True),
        in_scans(encoded(scene(320, 240).convert("L"), "JPEG")),
    ]
    for data in files:
        full, scaled = (decode(data, SIZE, decoding=decoding).rgb for decoding in ("full", "scaled"))
        assert np.abs(full.astype(int) - scaled).mean() < 8
    assert reserved == [320 * 240] * 4


def test_the_limit_of_pixels_is_about_the_whole_photograph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 320 * 240 - 1)
    with pytest.raises(Rejection) as caught:
        decode(KINDS["jpeg"], SIZE, decoding="scaled")
    assert caught.value.reason is Reason.TOO_LARGE


def test_an_unknown_decoding_is_not_a_rejection() -> None:
    with pytest.raises(KeyError):
        decode(KINDS["jpeg"], SIZE, decoding="half")


def test_thumbnails_are_the_same_after_it() -> None:
    before = images.thumbnail(KINDS["jpeg"], 32)
    decode(KINDS["jpeg"], SIZE, decoding="scaled")
    assert images.thumbnail(KINDS["jpeg"], 32) == before


def test_every_kind_of_cpu_decodes_the_same_pixels(tmp_path: Path) -> None:
    """libjpeg-turbo promises it; features of one fingerprint rely on it."""
    (tmp_path / "scene.jpg").write_bytes(encoded(scene(640, 480), "JPEG", quality=90))
    code = (
        "import hashlib; from pathlib import Path; from verger.photographs.images import decode;"
        "data = Path('scene.jpg').read_bytes(); sizes = 120, 60, 30;"
        "print([hashlib.sha256(decode(data, size, decoding='scaled').rgb.tobytes()).hexdigest() for size in sizes])"
    )
    said = []
    for variables in ({}, {"JSIMD_FORCESSE2": "1"}, {"JSIMD_FORCENONE": "1"}):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env=os.environ | variables,
        )
        said.append(done.stdout)
    assert said[0] == said[1] == said[2]
