from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from verger.errors import Reason, Rejection, UsageError
from verger.photographs import fruit, synthetic
from verger.photographs.images import decode
from verger.photographs.inventory import label_counts, take
from verger.photographs.synthetic import SampleCounts, draw
from verger.storage.stores import Stores


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample of the default size."""
    folder = tmp_path_factory.mktemp("sample") / "fruit"
    assert draw(str(folder)) == SampleCounts(photographs=300, odd=25, broken=3)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_counts_match_the_files(sample: Path) -> None:
    inventory = take(str(sample), Stores())
    assert inventory.photographs.num_rows == 303
    assert inventory.ignored == {".txt": 1}
    assert set(label_counts(inventory.photographs)) == set(fruit.VARIETIES)
    assert set(inventory.photographs.to_table()["split"].to_pylist()) == {"Training", "Test"}


def test_only_the_broken_files_are_rejected(sample: Path) -> None:
    rejected = {}
    for path in take(str(sample), Stores()).photographs.to_table()["path"].to_pylist():
        try:
            decode(Path(path).read_bytes(), 32)
        except Rejection as rejection:
            rejected[str(Path(path).relative_to(sample))] = rejection.reason
    assert rejected == {
        "Training/Apple Green 1/r_cut_100.jpg": Reason.TRUNCATED,
        "Training/Apple Red 1/r_note_100.jpg": Reason.NOT_AN_IMAGE,
        "Test/Banana 1/r_empty_100.jpg": Reason.EMPTY,
    }


def test_most_are_plain_and_every_unusual_kind_is_present(sample: Path) -> None:
    found = []
    for path in sample.rglob("r*_*[0-9]*.*"):
        with contextlib.suppress(OSError), Image.open(path) as image:  # two of the broken ones cannot be opened
            found.append((image.format, image.mode, image.size))
    plain = found.count(("JPEG", "RGB", (100, 100)))
    unusual = set(found) - {("JPEG", "RGB", (100, 100))}
    assert plain == 276  # and the one that was cut
    assert unusual == {
        ("PNG", "L", (100, 100)),
        ("JPEG", "RGB", (160, 120)),  # turned by 90 degrees, which EXIF says
        ("GIF", "P", (100, 100)),
        ("JPEG", "CMYK", (100, 100)),
        ("JPEG", "RGB", (90, 150)),
        ("PNG", "RGBA", (100, 100)),
        ("PNG", "I;16", (100, 100)),
        ("WEBP", "RGB", (100, 100)),
        ("JPEG", "RGB", (200, 100)),
        ("BMP", "RGB", (100, 100)),
        ("JPEG", "RGB", (320, 240)),
        ("TIFF", "RGB", (100, 100)),
    }


def test_unusual_kinds_look_like_the_plain_photograph() -> None:
    """Each kind of file decodes to the drawing it was made from."""
    for kind in synthetic._UNUSUAL:
        decoded = decode(synthetic._file(0, kind, seed=0), 50)
        rng = np.random.default_rng([0, 0])
        rgb, cover = fruit.photograph("Apple Green 1", 0, kind.width, kind.height, rng)
        if "alpha" in kind.suffix:
            rgb = 1 - cover[..., None] * (1 - rgb)
        if "grey" in kind.suffix or "16bit" in kind.suffix:
            rgb = np.repeat(rgb @ [[0.299], [0.587], [0.114]], 3, axis=2)
        expected = Image.fromarray((rgb * 255).round().astype(np.uint8)).resize((50, 50), Image.Resampling.BICUBIC)
        difference = np.abs(decoded.rgb.astype(int) - np.asarray(expected))
        assert (decoded.width, decoded.height) == (kind.width, kind.height), kind.suffix
        assert difference.mean() < 6, kind.suffix


def test_the_same_seed_gives_the_same_bytes(sample: Path, tmp_path: Path) -> None:
    draw(str(tmp_path / "a"), 60)
    few, all_of_them = contents(tmp_path / "a"), contents(sample)
    assert len(few) == 61
    assert few.items() <= all_of_them.items()
    draw(str(tmp_path / "b"), 60, seed=1)
    others = contents(tmp_path / "b")
    assert others.keys() == few.keys()
    assert all(others[name] != few[name] for name in few)


def test_a_second_call_draws_nothing_and_a_larger_call_adds_photographs(tmp_path: Path) -> None:
    draw(str(tmp_path / "s"), 20)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").rglob("*") if path.is_file()}
    assert draw(str(tmp_path / "s"), 20) == SampleCounts(20, 1, 0)
    assert draw(str(tmp_path / "s"), 25) == SampleCounts(25, 2, 0)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").rglob("*") if path.is_file()}
    assert len(after) == 26
    assert before.items() <= after.items()


def test_an_interrupted_sample_is_completed(tmp_path: Path) -> None:
    draw(str(tmp_path / "whole"), 15)
    draw(str(tmp_path / "part"), 15)
    for name in list(contents(tmp_path / "part"))[::2]:
        if name != "README.txt":
            (tmp_path / "part" / name).unlink()
    draw(str(tmp_path / "part"), 15)
    assert contents(tmp_path / "part") == contents(tmp_path / "whole")


def test_a_folder_with_other_files_is_refused_and_not_changed(tmp_path: Path) -> None:
    (tmp_path / "mine.jpg").write_bytes(b"x")
    with pytest.raises(UsageError, match="empty or a new folder"):
        draw(str(tmp_path), 3)
    assert contents(tmp_path) == {"mine.jpg": b"x"}


def test_a_folder_with_a_sample_of_another_seed_is_refused(tmp_path: Path) -> None:
    draw(str(tmp_path), 3)
    with pytest.raises(UsageError):
        draw(str(tmp_path), 3, seed=1)


def test_names_are_unique() -> None:
    number = 13 * 725  # angles repeat after 360 photographs of a variety
    names = {synthetic._name(at, synthetic._kind(at)) for at in range(number)}
    assert len(names) == number


def test_broken_files_are_below_five_percent() -> None:
    for number in (1, 12, 50, 99, 100, 150, 200, 300, 1000):
        broken = len(synthetic._files(number, 0)) - number
        assert broken / (number + broken) < 0.05


@pytest.mark.parametrize("variety", fruit.VARIETIES)
def test_the_background_is_nearly_white(variety: str) -> None:
    rgb, cover = fruit.photograph(variety, 30, 100, 100, np.random.default_rng(3))
    assert rgb.shape == (100, 100, 3)
    assert rgb.min() >= 0 and rgb.max() <= 1
    assert 0.1 < cover.mean() < 0.6
    corners = rgb[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.min() > 0.75
    assert np.abs(rgb - 0.98).max(axis=2)[cover > 0.9].mean() > 0.2  # the fruit is not white


def test_varieties_can_be_distinguished() -> None:
    """The nearest neighbour by pixels has the same variety in half of the cases; by chance in 1 of 13."""
    files, labels = [], []
    for at in range(13 * 8):
        files.append(decode(synthetic._file(at, synthetic._PLAIN, 0), 20).rgb.reshape(-1).astype(float))
        labels.append(synthetic._subject(at)[0])
    pixels = np.array(files)
    distances = ((pixels[:, None] - pixels[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    right = np.mean([labels[at] == labels[near] for at, near in enumerate(distances.argmin(axis=1))])
    assert right > 0.5


def test_drawing_imports_neither_tensorflow_nor_pyspark() -> None:
    code = "import sys, verger.photographs.synthetic; print({'tensorflow', 'pyspark'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_plain_photograph_is_a_small_rgb_jpeg() -> None:
    data = synthetic._file(0, synthetic._PLAIN, 0)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (100, 100), "RGB")
    assert 1500 < len(data) < 10_000  # longer than where the broken one is cut
