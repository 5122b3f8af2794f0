"""The memory budget of photographs that are decoded at the same time."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.bad_files import encoded
from tests.unit.photographs.test_images import photograph
from verger.errors import Reason, Rejection
from verger.photographs import images
from verger.photographs.memory import MemoryBudget


def test_small_photographs_share_the_budget_and_a_large_one_is_alone() -> None:
    budget, lock, inside, seen = MemoryBudget(100), threading.Lock(), [], []

    def decoded(pixels: int) -> None:
        with budget.reserve(pixels):
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


def test_an_exception_frees_the_reservation() -> None:
    budget = MemoryBudget(10)
    with pytest.raises(ValueError, match="broken"), budget.reserve(10):
        raise ValueError("broken")
    with budget.reserve(10):
        waiting = threading.Thread(target=lambda: budget.reserve(10).__enter__(), daemon=True)
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join(5)
    assert not waiting.is_alive()


def test_threads_are_served_in_order() -> None:
    budget, order = MemoryBudget(10), []

    def decoded(pixels: int) -> None:
        with budget.reserve(pixels):
            order.append(pixels)

    with budget.reserve(5):
        threads = [threading.Thread(target=decoded, args=(pixels,)) for pixels in (10, 1)]
        for thread in threads:
            thread.start()
            time.sleep(0.05)
        assert order == []  # there is room for the small one, but the large one came first
    for thread in threads:
        thread.join(5)
    assert order == [10, 1]


@pytest.mark.parametrize(
    ("format", "options", "decoded"),
    [("PNG", {}, 400 * 300), ("JPEG", {}, 200 * 150), ("JPEG", {"progressive": True}, 400 * 300)],
)
def test_a_thumbnail_reserves_the_pixels_that_are_decoded(
    monkeypatch: pytest.MonkeyPatch, format: str, options: dict[str, bool], decoded: int
) -> None:
    asked: list[int] = []

    class Recorder(MemoryBudget):
        def reserve(self, pixels: int):  # type: ignore[no-untyped-def]
            asked.append(pixels)
            return super().reserve(pixels)

    monkeypatch.setattr(images, "_BUDGET", Recorder(10))
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


def test_six_threads_stay_within_the_memory_budget() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], text=True, capture_output=True, check=True)
    # Two photographs of 48 megapixels fit the budget, 192 MB each; six take 1.1 GB. The peak before is that of one.
    assert int(done.stdout) < 500_000
