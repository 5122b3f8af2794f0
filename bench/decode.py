"""What decoding JPEGs at a smaller size saves, and what it costs: ``--decode scaled`` against ``--decode full``.

    python bench/decode.py [--repeat 5] [--drawn 52] [--only speed|quality] [--keep FOLDER] [--json FILE]

**Speed**, in one thread, of JPEGs of 100x100, 1 megapixel (1152x864) and 12 megapixels (4000x3000): photographs a
second of `decode`, and of `decode` with the bundled network after it, in batches of 16. Both settings are measured in
turns, as many times as ``--repeat`` says, and told as medians.

**Quality**, for photographs that ``scaled`` decodes at a smaller size: the cosine of the bundled network's features to
those of full decoding, and how many photographs have a nearest neighbour (cosine, itself left out) of their own label.

- *drawn*: fruits drawn at 4000x3000, with a grain of all sizes down to a pixel, so that there is something to lose.
- *tiled*: each photograph of the folder ``grocery`` of VERGER_TEST_DATA (348 pixels), laid side by side and mirrored up
  to 4000x3000. No pixel is up-sampled.
- *native N*: the same photographs as they are, for a network of N pixels. They are as large for 80 and 40 pixels as a
  photograph of 974 and 1,949 pixels is for 224: just large enough to be decoded at a half and at a quarter.

The last two are left out where VERGER_TEST_DATA is not set. Drawing takes about 14 seconds a photograph and core;
``--keep`` keeps what was drawn for the next time.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "job"))

import numpy as np
from PIL import Image, ImageOps

from verger.config import NetworkSettings
from verger.cores import available_cores
from verger.insight.export.exporter import processor
from verger.network.backbones import resolve
from verger.network.inference import Infer, build
from verger.photographs.fruit import VARIETIES, photograph
from verger.photographs.images import decode
from verger.photographs.synthetic import draw_one
from verger.storage.stores import Stores

WAYS = ("full", "scaled")
TWELVE_MEGAPIXELS, ONE_MEGAPIXEL = (4000, 3000), (1152, 864)
QUALITY = 90  # of the JPEGs, with colours at half the size, as phones write them
INPUT_SIZE, BATCH = 224, 16
NATIVE_SIZES = (80, 40)


class Labelled(NamedTuple):
    """A photograph, and what it shows."""

    label: str
    data: bytes


def jpeg(image: Image.Image, quality: int = QUALITY, **options: Any) -> bytes:
    """A file as phones write it."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, **options)
    return file.getvalue()


def grain(width: int, height: int, random: np.random.Generator) -> np.ndarray:
    """Noise of all sizes, from a pixel to the whole picture, about 0 with a standard deviation of about 1."""
    total = np.zeros((height, width), np.float32)
    cell = 1
    while cell < min(width, height):
        coarse = random.standard_normal((-(-height // cell), -(-width // cell)), np.float32)
        total += np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR))
        cell *= 2
    return total / total.std()


def draw(number: int, size: tuple[int, int]) -> Labelled:
    """A fruit of the next variety."""
    random = np.random.default_rng([15, number])
    label = list(VARIETIES)[number % len(VARIETIES)]
    rgb, _ = photograph(label, number // len(VARIETIES) * 137 % 360, *size, random)
    pixels = rgb.astype(np.float32) * (0.9 + 0.1 * grain(*size, random)[..., None])
    return Labelled(label, jpeg(Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))))


def drawn(number: int, folder: Path) -> Labelled:
    """A fruit of 12 megapixels, from the folder or else drawn into it."""
    file = folder / f"{number:04d}.jpg"
    if file.exists():
        return Labelled(list(VARIETIES)[number % len(VARIETIES)], file.read_bytes())
    made = draw(number, TWELVE_MEGAPIXELS)
    file.write_bytes(made.data)
    return made


def grocery() -> list[Path]:
    """Real photographs, if there are any on this machine."""
    data = os.environ.get("VERGER_TEST_DATA")
    return sorted(Path(data, "grocery", "Training").glob("*/*.jpg")) if data else []


def tiled(path: Path, size: tuple[int, int] = TWELVE_MEGAPIXELS) -> Labelled:
    """A real photograph beside its mirrored self, as often as it takes."""
    with Image.open(path) as image:
        tile = image.convert("RGB")
    across, down = tile.size
    whole = Image.new("RGB", size)
    for row in range(-(-size[1] // down)):
        for column in range(-(-size[0] // across)):
            turned = ImageOps.mirror(tile) if column % 2 else tile
            whole.paste(ImageOps.flip(turned) if row % 2 else turned, (column * across, row * down))
    return Labelled(path.parent.name, jpeg(whole))


def network(size: int = INPUT_SIZE) -> Infer:
    """The bundled one, for one thread."""
    return build(resolve(NetworkSettings(input_size=size), Stores()).freeze(), threads=1)


def per_second(work: Callable[[list[bytes], str], object], files: list[bytes], repeat: int) -> dict[str, Any]:
    """Photographs a second, each way: medians of so many times, in turns."""
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for way in WAYS:
        work(files[:1], way)
    for _ in range(repeat):
        for way in WAYS:
            began = time.perf_counter()
            work(files, way)
            rates[way].append(len(files) / (time.perf_counter() - began))
    medians = {way: statistics.median(found) for way, found in rates.items()}
    return {
        **{way: round(rate, 1) for way, rate in medians.items()},
        "times": round(medians["scaled"] / medians["full"], 2),
    }


def speed(folder: Path, repeat: int) -> dict[str, Any]:
    """Photographs a second by kind of JPEG."""
    infer = network()

    def decoding(files: list[bytes], way: str) -> None:
        for data in files:
            decode(data, INPUT_SIZE, decoding=way)

    def both(files: list[bytes], way: str) -> None:
        for start in range(0, len(files), BATCH):
            pixels = np.zeros((BATCH, INPUT_SIZE, INPUT_SIZE, 3), np.uint8)
            for place, data in enumerate(files[start : start + BATCH]):
                pixels[place] = decode(data, INPUT_SIZE, decoding=way).rgb
            infer(pixels)

    kinds = {
        "100x100": [draw_one(number, 0) for number in range(320)],
        "1 megapixel": [draw(number, ONE_MEGAPIXEL).data for number in range(BATCH)] * 2,
        "12 megapixels": [drawn(number, folder).data for number in range(BATCH)],
    }
    pictures = [Image.open(io.BytesIO(data)) for data in kinds["12 megapixels"]]
    kinds["12 megapixels, quality 75"] = [jpeg(picture, quality=75) for picture in pictures]
    kinds["12 megapixels, progressive"] = [jpeg(pictures[0], progressive=True)] * BATCH
    if paths := grocery():
        kinds["12 megapixels, tiled"] = [tiled(path).data for path in paths[:: max(1, len(paths) // BATCH)][:BATCH]]
    return {
        kind: {
            "bytes": round(statistics.mean(map(len, files))),
            "decode_per_s": per_second(decoding, files, repeat),
            "decode_and_network_per_s": per_second(both, files, repeat),
        }
        for kind, files in kinds.items()
    }


def quality(photographs: Iterator[Labelled], size: int = INPUT_SIZE) -> dict[str, Any]:
    """How the features of photographs that are decoded at a smaller size compare with those of full decoding."""
    infer, labels = network(size), []
    features: dict[str, list[np.ndarray]] = {way: [] for way in WAYS}
    for label, data in photographs:
        labels.append(label)
        for way in WAYS:
            features[way].append(infer(decode(data, size, decoding=way).rgb[None])[0])
    unit = {way: np.stack(found) / np.linalg.norm(found, axis=1, keepdims=True) for way, found in features.items()}
    cosines = (unit["full"] * unit["scaled"]).sum(axis=1)
    right = {way: nearest_is_right(found, np.array(labels)) for way, found in unit.items()}
    return {
        "photographs": len(labels),
        "labels": len(set(labels)),
        "network_sees": size,
        "cosine_min": round(float(cosines.min()), 4),
        "cosine_median": round(float(np.median(cosines)), 4),
        **{f"accuracy_{way}": round(float(found.mean()), 4) for way, found in right.items()},
        "only_full_right": int((right["full"] & ~right["scaled"]).sum()),
        "only_scaled_right": int((right["scaled"] & ~right["full"]).sum()),
    }


def nearest_is_right(unit: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the nearest other photograph has the same label."""
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    return labels[cosines.argmax(axis=1)] == labels


def qualities(folder: Path, photographs: int) -> dict[str, Any]:
    """By kind of photograph."""
    found = {"drawn": quality(drawn(number, folder) for number in range(photographs))}
    if paths := grocery():
        found["tiled"] = quality(tiled(path) for path in paths)
        for size in NATIVE_SIZES:
            found[f"native {size}"] = quality((Labelled(path.parent.name, path.read_bytes()) for path in paths), size)
    return found


def measure(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Draw what is missing, and measure what was asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(available_cores()) as pool:
        needed = BATCH if asked.only == "speed" else max(BATCH, asked.drawn)
        list(pool.map(drawn, range(needed), [folder] * needed, chunksize=1))
    found: dict[str, Any] = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "system": platform.platform(),
        "versions": {name: version(name) for name in ("tensorflow-cpu", "pillow", "simplejpeg", "numpy")},
        "repeat": asked.repeat,
    }
    if asked.only != "quality":
        found["speed"] = speed(folder, asked.repeat)
    if asked.only != "speed":
        found["quality"] = qualities(folder, asked.drawn)
    return found


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=5, help="times that each speed is measured")
    parser.add_argument("--drawn", type=int, default=52, help="photographs to draw, of 13 varieties in turn")
    parser.add_argument("--only", choices=("speed", "quality"), help="leave out the other")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where drawn photographs are, and stay")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write there what is printed, too")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        text = json.dumps(measure(asked, asked.keep or Path(temporary)), indent=2)
    print(text)
    if asked.json:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
