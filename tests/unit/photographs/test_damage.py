"""Photographs whose bytes were damaged inside, with the end of the file as it was."""

from __future__ import annotations

import io
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.bad_files import encoded
from verger.errors import Reason, Rejection
from verger.photographs.images import decode

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

SCENE = Image.effect_noise((200, 160), 60).resize((320, 240)).convert("RGB")
KINDS = {
    "jpeg": encoded(SCENE, "JPEG", quality=90),
    "jpeg of optimal codes": encoded(SCENE, "JPEG", quality=90, optimize=True),
    "progressive jpeg": encoded(SCENE, "JPEG", quality=90, progressive=True),
    "jpeg with restarts": encoded(SCENE, "JPEG", quality=90, restart_marker_rows=1),
    "grey jpeg": encoded(SCENE.convert("L"), "JPEG", quality=90),
    "cmyk jpeg": encoded(SCENE.convert("CMYK"), "JPEG", quality=90),
    "mpo": encoded(SCENE, "MPO", quality=90),
    "png": encoded(SCENE, "PNG"),
    "deflated tiff": encoded(SCENE, "TIFF", compression="tiff_deflate"),
    "lzw tiff": encoded(SCENE, "TIFF", compression="tiff_lzw"),
    "jpeg tiff": encoded(SCENE, "TIFF", compression="jpeg"),
    "gif": encoded(SCENE, "GIF"),
}
JPEG = KINDS["jpeg"]
SCAN = JPEG.index(b"\xff\xda") + 14  # where its compressed data begin


def is_rejected(data: bytes) -> bool:
    try:
        decode(data, 16)
    except Rejection as rejection:
        assert rejection.reason is Reason.TRUNCATED
        return True
    return False


def assert_whole(data: bytes) -> None:
    """It is decoded as the file without oddities is."""
    assert (decode(data, 64).rgb == decode(JPEG, 64).rgb).all()


@pytest.mark.parametrize("how", ["zero", "other bytes"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_block_lost_in_the_middle_is_noticed(kind: str, how: str) -> None:
    whole, draw = KINDS[kind], random.Random(kind)
    assert not is_rejected(whole)
    begin = whole.index(b"\xff\xda") + 14 if "jpeg" in kind or kind == "mpo" else 1000
    missed = 0
    for size in (512, 4096) * 10:
        at = draw.randrange(begin, len(whole) - 1000 - size)
        lost = bytes(size) if how == "zero" else draw.randbytes(size)
        missed += not is_rejected(whole[:at] + lost + whole[at + size :])
    # Other data may be, by chance, as many pixels as those that they replace. Zeros are recognised, but in the scans
    # of a progressive JPEG, where they may be pixels.
    assert missed <= (0 if how == "zero" and kind != "progressive jpeg" else 2)


def test_damage_by_single_bits_is_noticed_where_there_are_checksums() -> None:
    for kind in ("png", "deflated tiff"):
        whole, draw = KINDS[kind], random.Random(kind)
        for _ in range(20):
            data = bytearray(whole)
            data[draw.randrange(1000, len(whole) - 1000)] ^= 1 << draw.randrange(8)
            assert is_rejected(bytes(data))


def test_the_message_says_what_the_decoder_found() -> None:
    middle = len(JPEG) // 2
    with pytest.raises(Rejection, match="JPEG: Corrupt JPEG data: premature end of data segment"):
        decode(JPEG[:middle] + JPEG[middle + 5000 :], 16)


def test_a_jpeg_without_warnings_is_what_pillow_decodes() -> None:
    for kind in ("jpeg", "jpeg of optimal codes", "progressive jpeg", "jpeg with restarts", "grey jpeg", "cmyk jpeg"):
        with Image.open(io.BytesIO(KINDS[kind])) as image:
            expected = np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.BICUBIC))
        assert (decode(KINDS[kind], 64).rgb == expected).all(), kind
    for sampling in ("4:4:4", "4:2:2", "4:2:0"):
        data = encoded(SCENE.resize((317, 233)), "JPEG", subsampling=sampling)
        with Image.open(io.BytesIO(data)) as image:
            expected = np.asarray(image.resize((64, 64), Image.Resampling.BICUBIC))
        assert (decode(data, 64).rgb == expected).all(), sampling


@pytest.mark.parametrize(
    "data",
    [
        JPEG[:20] + b"stray bytes" + JPEG[20:],
        JPEG[:20] + b"\xff\0\xff\0" + JPEG[20:],
        JPEG[: SCAN - 14] + b"stray bytes" + JPEG[SCAN - 14 :],
        JPEG.replace(b"JFIF\0\1\1", b"JFIF\0\3\1"),
        JPEG[: SCAN - 3] + bytes(3) + JPEG[SCAN:],
        JPEG[:20] + b"\xff\xe2\0\x14ICC_PROFILE\0\1\3abcd" + JPEG[20:],
        JPEG[:20] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\1" + JPEG[20:],
        JPEG[:-2] + bytes(4) + JPEG[-2:],
        JPEG[:-2] + b"\1\2\3\4\5\6\7\x08\x09\x0a\x0b" + JPEG[-2:],
        JPEG[:-2] + bytes(20_000) + JPEG[-2:],
        JPEG[:-2] + b"\xa5" * 20_000 + JPEG[-2:],
        JPEG[:-2] + b"\xff" * 99 + JPEG[-2:],
        JPEG + b"trailing data" * 999,
        JPEG + bytes(20_000) + JPEG,
    ],
    ids=[
        "bytes before a table",
        "stuffed bytes before a table",
        "bytes before the scan",
        "unknown version of JFIF",
        "frequencies of the scan",
        "profile in pieces that are missing",
        "Adobe's marker",
        "four bytes left over",
        "eleven bytes left over",
        "padding by zeros",
        "padding by another byte",
        "padding by fill bytes",
        "data behind the end",
        "another photograph behind the end",
    ],
)
def test_oddities_of_cameras_are_no_damage(data: bytes) -> None:
    assert_whole(data)


@pytest.mark.parametrize("odd", [b"JFIF\0\1\1", b"\xff\xdb"])
def test_damage_is_noticed_behind_an_oddity(odd: bytes) -> None:
    strange = JPEG.replace(odd, {b"JFIF\0\1\1": b"JFIF\0\3\1", b"\xff\xdb": b"stray\xff\xdb"}[odd], 1)
    assert_whole(strange)
    middle = len(strange) // 2
    assert is_rejected(strange[:middle] + bytes(3000) + strange[middle + 3000 :])


def test_more_restart_intervals_than_the_photograph_has_are_no_damage() -> None:
    """Some scanners write on after the last row that the header promises."""
    whole = KINDS["jpeg with restarts"]
    more = whole[:-2]
    for interval in range(15, 20):  # 240 rows of pixels are 15 intervals
        more += bytes((0xFF, 0xD0 + (interval - 1) % 8)) + bytes(range(1, 200)) * 3
    expected = decode(whole, 64).rgb
    assert (decode(more + b"\xff\xd9", 64).rgb == expected).all()
    middle = len(whole) // 2
    assert is_rejected(more[:middle] + bytes(3000) + more[middle + 3000 :] + b"\xff\xd9")


@pytest.mark.parametrize("options", [{"optimize": True}, {"progressive": True}, {}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_plain_areas_are_no_damage(mode: str, options: dict[str, bool]) -> None:
    """With codes made for the photograph, a plain area may be zero bytes."""
    plain = Image.new(mode, (2000, 1500), "white")
    plain.paste(Image.effect_noise((300, 200), 60).convert(mode), (800, 600))
    data = encoded(plain, "JPEG", **options)
    assert options == {} or bytes(200) in data
    assert not is_rejected(data)
    assert not is_rejected(encoded(Image.new(mode, (2000, 1500), "black"), "JPEG", **options))


def test_a_header_that_claims_another_size_does_not_get_the_memory_for_it() -> None:
    """Pillow believes the last of two frames, libjpeg the first."""
    frame = JPEG.index(b"\xff\xc0")
    large = bytearray(JPEG[frame : frame + 19])
    large[5:9] = struct.pack(">HH", 65_000, 65_000)
    assert is_rejected(JPEG[:frame] + bytes(large) + JPEG[frame:])


def test_real_photographs_are_whole(data: Path) -> None:
    paths = sorted((data / "grocery").rglob("*.jpg"))[::8] + sorted((data / "fruits").rglob("*.jpg"))[::100]
    assert [path for path in paths if is_rejected(path.read_bytes())] == []


@pytest.mark.slow
def test_no_real_photograph_is_rejected(data: Path) -> None:
    assert [path for path in sorted(data.rglob("*.jpg")) if is_rejected(path.read_bytes())] == []
