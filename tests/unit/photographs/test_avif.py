"""AVIF, which Pillow decodes without a further package."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import AvifImagePlugin, Image, features

from tests.bad_files import encoded
from verger.errors import Reason, Rejection
from verger.photographs import images
from verger.photographs.images import decode
from verger.photographs.suffixes import SUFFIXES, UNREAD

pytestmark = [
    pytest.mark.filterwarnings("ignore:::PIL"),
    pytest.mark.skipif(not features.check("avif"), reason="this build of Pillow has no AVIF"),
]

RED, GREEN = (255, 0, 0), (0, 255, 0)
HALVES = Image.new("RGB", (64, 48), RED)
HALVES.paste(GREEN, (32, 0, 64, 48))
AVIF = encoded(HALVES, "AVIF", quality=90)


def assert_halves(data: bytes) -> None:
    rgb = decode(data, 16).rgb.astype(int)
    assert np.abs(rgb[:, :6] - RED).max() <= 12
    assert np.abs(rgb[:, 10:] - GREEN).max() <= 12


def test_avif_is_decoded_and_has_its_suffix_listed() -> None:
    assert_halves(AVIF)
    assert (decode(AVIF, 16).width, decode(AVIF, 16).height) == (64, 48)
    assert ".avif" in SUFFIXES and ".avif" not in UNREAD


def test_avif_with_the_brand_that_it_shares_with_heif_is_told_from_that() -> None:
    brands = int.from_bytes(AVIF[:4])
    assert AVIF[8:12] == b"avif" and b"avif" in AVIF[16:brands]
    assert_halves(AVIF[:8] + b"mif1" + AVIF[12:])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = decode(encoded(HALVES, "PNG", exif=exif), 16)
    found = decode(encoded(HALVES, "AVIF", exif=exif, quality=90), 16)  # takes the orientation out of `exif`
    assert (found.width, found.height) == (expected.width, expected.height)
    assert np.abs(found.rgb[2:-2, 2:-2].astype(int) - expected.rgb[2:-2, 2:-2]).mean() < 12


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [HALVES, *(Image.new("RGB", (64, 48), colour) for colour in ("blue", "white"))]
    data = encoded(frames[0], "AVIF", save_all=True, append_images=frames[1:], quality=90)
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 3
    assert_halves(data)


def test_metadata_that_are_large_or_damaged_or_oriented_otherwise_do_not_matter() -> None:
    exif = Image.Exif()
    exif[0x010F] = "maker"
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = encoded(HALVES, "AVIF", quality=90, exif=exif, xmp=xmp, icc_profile=bytes(1_000_000))
    begin = data.index(b"maker\0") - 26  # where its EXIF begins
    assert data[begin : begin + 4] in (b"II*\0", b"MM\0*")
    for changed in (data, data[:begin] + bytes(9) + data[begin + 9 :]):
        assert_halves(changed)
        assert decode(changed, 16).width == 64


def test_grey_is_decoded() -> None:
    grey = encoded(Image.new("L", (64, 48), 90), "AVIF")
    assert np.abs(decode(grey, 16).rgb.astype(int) - 90).max() <= 2


def test_avif_that_is_cut_anywhere_is_truncated() -> None:
    for length in range(12, len(AVIF), 7):
        with pytest.raises(Rejection) as caught:
            decode(AVIF[:length], 16)
        assert caught.value.reason is Reason.TRUNCATED


def test_avif_of_too_many_pixels_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(Rejection) as caught:
        decode(AVIF, 16)
    assert caught.value.reason is Reason.TOO_LARGE


def test_avif_is_decoded_by_one_thread_each() -> None:
    """Photographs are decoded in threads already; a node of 64 cores would have 512."""
    assert AvifImagePlugin._get_default_max_threads() == 1


def test_avif_without_a_decoder_in_pillow_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AvifImagePlugin, "SUPPORTED", False)
    with pytest.raises(Rejection) as caught:
        decode(AVIF, 16)
    assert caught.value.reason is Reason.UNSUPPORTED_FORMAT
