"""Large runs to their ends, and the memory of their processes as time goes by.

    python bench/whole_runs.py [--rows 200000 1000000] [--new 2000] [--decodes 10000 100000] [--photographs FOLDER]
                               [--json FILE] [--chart FILE]

For each number of ``--rows``, `verger run` over photographs whose features are stored (drawn, 1,280 each):

- **first**: there is no base run, so that the store is read, and all rows are fitted and projected;
- **unchanged**: the same once more;
- **new**: ``--new`` drawn photographs beside them, with `--pca auto`.

For each number of ``--decodes``, **photographs**: `verger run` into an empty output, with all that it makes. The
photographs are those of a folder, encoded again and again: each is cut and lit differently, so that no two are alike.
By default it is that of VERGER_TEST_DATA, or they are drawn.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
from itertools import cycle, islice
from multiprocessing import Pool
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "job"))

import numpy as np
from inputs import fruits, lay_photographs
from memory_chart import draw
from PIL import Image, ImageEnhance
from processes import MAIN, timed
from scale import PLAIN, make_photographs, make_store

from verger.config import RunConfig
from verger.network.backbones import resolve
from verger.photographs import synthetic
from verger.storage.stores import Stores

SHOWN = 300  # samples of a run that are kept for the chart, at most


def encode_again(task: tuple[Path, Path, int]) -> None:
    """One photograph, cut and lit at random, under a new name."""
    source, target, seed = task
    random = np.random.default_rng(seed)
    with Image.open(source) as image:
        left, top, right, bottom = random.integers(0, 6, 4)
        cut = image.convert("RGB").crop((left, top, image.width - right, image.height - bottom))
    lit = ImageEnhance.Brightness(cut).enhance(random.uniform(0.85, 1.15))
    sink = io.BytesIO()
    lit.save(sink, "JPEG", quality=int(random.integers(85, 96)))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(sink.getvalue())


def make_real(folder: Path, source: Path, count: int) -> None:
    """So many photographs, in folders of their labels, each of them different."""
    originals = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    tasks = [
        (original, folder / original.parent.relative_to(source) / f"{number:07d}.jpg", number)
        for number, original in enumerate(islice(cycle(originals), count))
    ]
    with Pool(os.cpu_count()) as pool:
        for _ in pool.imap_unordered(encode_again, tasks, chunksize=100):
            pass


def run(name: str, photographs: int, source: Path, output: Path, *options: str) -> dict[str, Any]:
    """`verger run` as a process: its seconds, and its memory in megabytes."""
    command = [sys.executable, str(MAIN), "run", "--input", str(source), "--output", str(output), *options]
    done = timed(command)
    manifest = json.loads(_latest(output).read_text())
    step, peaks = max(1, len(done["samples"]) // SHOWN), done["memory"]
    found = {
        "run": name,
        "photographs": photographs,
        "seconds": round(done["seconds"], 1),
        "peak_mb": {
            kind: round(peaks.get(name, 0) / 1e6)
            for kind, name in {"driver": "driver", "jvm": "jvm", "workers": "all workers"}.items()
        },
        "timings_s": {stage: round(seconds, 1) for stage, seconds in manifest["timings_s"].items()},
        "samples_s": [round(at, 1) for at, _ in done["samples"][::step]],
        "samples_mb": {
            kind: [round(sizes.get(kind, 0) / 1e6) for _, sizes in done["samples"][::step]]
            for kind in ("driver", "jvm", "workers")
        },
    }
    print(json.dumps({key: value for key, value in found.items() if not key.startswith("samples")}), flush=True)
    return found


def _latest(output: Path) -> Path:
    return max((output / "runs").glob("*/manifest.json"), key=lambda path: path.stat().st_mtime_ns)


def over_rows(place: Path, rows: int, new: int) -> list[dict[str, Any]]:
    """Runs over photographs whose features are stored."""
    source, output = place / "in", place / "out"
    config = RunConfig(input=str(source), output=str(output))
    network = resolve(config, Stores(), config.seed)
    make_store(output, make_photographs(source, rows), network.dimension, network.fingerprint)
    found = [run("first", rows, source, output, *PLAIN), run("unchanged", rows, source, output, *PLAIN)]
    synthetic.draw(str(source / "new"), new, seed=1)
    return [*found, run("new", rows + new, source, output, *PLAIN, "--pca", "auto")]


def over_photographs(place: Path, count: int, originals: Path | None) -> dict[str, Any]:
    """A run that decodes and computes all of its photographs."""
    if originals is None:
        lay_photographs(originals := place / "drawn", 1_000)
    make_real(place / "in", originals, count)
    return run("photographs", count, place / "in", place / "out")


def main() -> None:
    """Run, print, and draw the chart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[200_000, 1_000_000])
    parser.add_argument("--new", type=int, default=2_000)
    parser.add_argument("--decodes", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--photographs", type=Path, default=fruits())
    parser.add_argument("--json", type=Path)
    parser.add_argument("--chart", type=Path)
    options = parser.parse_args()
    found: list[dict[str, Any]] = []
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as place:
            found += over_rows(Path(place), rows, options.new)
    for count in options.decodes:
        with tempfile.TemporaryDirectory() as place:
            found.append(over_photographs(Path(place), count, options.photographs))
    if options.json:
        options.json.write_text(json.dumps(found) + "\n")
    if options.chart:
        options.chart.write_text(draw(found))


if __name__ == "__main__":
    main()
