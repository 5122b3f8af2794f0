"""How many photographs are decoded at once."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.bad_files import encoded
from tests.unit.test_images import photograph
from verger.errors import Reason, Rejection
from verger.photographs import images
from verger.photographs.decoding import Gate


def test_small_ones_pass_together_and_a_large_one_alone() -> None:
    gate, lock, inside, seen = Gate(100), threading.Lock(), [], []

    def decoded(pixels: int) -> None:
        with gate.through(pixels):
            with lock:
                inside.append(pixels)
                seen.append(tuple(inside))
            time.sleep(0.01)
            with lock:
                inside.remove(pixels)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decoded, [20, 500, 20, 20, 20, 500, 60, 20] * 5))
    assert all(500 not in together or len(together) == 1 for together in seen)
    assert max(sum(together) for together in seen if 500 not in together) <= 100
    assert max(len(together) for together in seen) >= 3


def test_what_fails_or_is_interrupted_holds_no_room() -> None:
    gate = Gate(10)
    with pytest.raises(ValueError, match="broken"), gate.through(10):
        raise ValueError("broken")
    with gate.through(10):
        waiting = threading.Thread(target=lambda: gate.through(10).__enter__(), daemon=True)
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join(5)
    assert not waiting.is_alive()


def test_a_large_one_is_not_overtaken_for_ever() -> None:
    gate, order = Gate(10), []

    def decoded(pixels: int) -> None:
        with gate.through(pixels):
            order.append(pixels)

    with gate.through(5):
        threads = [threading.Thread(target=decoded, args=(pixels,)) for pixels in (10, 1)]
        for thread in threads:
            thread.start()
            time.sleep(0.05)
        assert order == []  # the small one, for which there is room, stands behind the large one
    for thread in threads:
        thread.join(5)
    assert order == [10, 1]


@pytest.mark.parametrize(
    ("format", "options", "decoded"),
    [("PNG", {}, 400 * 300), ("JPEG", {}, 200 * 150), ("JPEG", {"progressive": True}, 400 * 300)],
)
def test_a_thumbnail_counts_what_is_decoded_for_it(
    monkeypatch: pytest.MonkeyPatch, format: str, options: dict[str, bool], decoded: int
) -> None:
    asked: list[int] = []

    class Asked(Gate):
        def through(self, pixels: int):  # type: ignore[no-untyped-def]
            asked.append(pixels)
            return super().through(pixels)

    monkeypatch.setattr(images, "_GATE", Asked(10))
    data = encoded(photograph(400, 300), format, **options)
    images.thumbnail(data, 50)
    assert asked == [decoded]
    images.decode(data, 20)
    assert asked == [decoded, 400 * 300]
    with pytest.raises(Rejection) as error:
        images.thumbnail(data, 50, most=decoded - 1)
    assert error.value.reason is Reason.TOO_LARGE
    assert len(asked) == 2  # it was not decoded


MEMORY = """
import io, resource, sys
from concurrent.futures import ThreadPoolExecutor
from PIL import Image
from verger.photographs.images import decode
sink = io.BytesIO()
Image.new("RGB", (8000, 6000), "red").save(sink, "PNG", compress_level=1)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
with ThreadPoolExecutor(6) as pool:
    assert len(list(pool.map(lambda _: decode(sink.getvalue(), 64), range(6)))) == 6
print(peak() - before)
"""


def test_six_threads_need_no_more_memory_than_the_room() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], text=True, capture_output=True, check=True)
    # Of 48 megapixels two pass at once, 192 MB each; six would take 1.1 GB. The peak before is that of one.
    assert int(done.stdout) < 500_000
