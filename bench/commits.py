"""Whether this checkout is slower than an earlier commit: a small run, and what one photograph costs, in turns.

    python bench/commits.py COMMIT [--photographs FOLDER] [--repeat 3]

Both run with this environment's packages. In turns, told as medians:

- **small**: `verger run` over the 300 photographs of `verger sample`, and its stage of features alone;
- **photograph**: milliseconds of one core for each photograph of the folder, of the stage of features of a run over all
  of them, less that of the small run: the difference leaves out what it takes to start.

Report, classifier and audit are left out. By default the photographs are those of VERGER_TEST_DATA, or two thousand
that are drawn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "job"))

from inputs import fruits
from processes import timed

from verger.photographs import synthetic

HERE = Path(__file__).parents[1]
PLAIN = ["--no-report", "--no-classifier", "--no-audit"]


def run(tree: Path, source: Path, place: Path) -> dict[str, float]:
    """Seconds of a run by a checkout, and of its features; the number of photographs that it computed."""
    with tempfile.TemporaryDirectory(dir=place) as output:
        command = [sys.executable, str(tree / "job/main.py"), "run", "--input", str(source), "--output", output]
        done = timed([*command, *PLAIN], PYTHONPATH=str(tree / "job"))
        manifest = json.loads(next(Path(output).glob("runs/*/manifest.json")).read_text())
    return {
        "seconds": done["seconds"],
        "features": manifest["timings_s"]["features"],
        "photographs": manifest["counts"]["computed"],
    }


def summary(small: list[dict[str, float]], large: list[dict[str, float]]) -> dict[str, float]:
    """Medians of one checkout's runs."""

    def median(runs: list[dict[str, float]], what: str) -> float:
        return statistics.median(run[what] for run in runs)

    more = large[0]["photographs"] - small[0]["photographs"]
    cores = os.cpu_count() or 1
    return {
        "small_s": round(median(small, "seconds"), 2),
        "small_features_s": round(median(small, "features"), 2),
        "large_s": round(median(large, "seconds"), 2),
        "photograph_ms": round(1000 * cores * (median(large, "features") - median(small, "features")) / more, 2),
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    parser.add_argument("--photographs", type=Path, default=fruits())
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        synthetic.draw(str(place / "small"), 300, seed=0)
        large = options.photographs or place / "large"
        if options.photographs is None:
            synthetic.draw(str(large), 2_000, seed=3)
        before = place / "before"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", before, options.commit], cwd=HERE, check=True)
        try:
            found: dict[str, Any] = {"before": ([], []), "now": ([], [])}
            for _ in range(options.repeat):
                for name, tree in (("before", before), ("now", HERE)):
                    for runs, source in zip(found[name], (place / "small", large), strict=True):
                        runs.append(run(tree, source, place))
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", before], cwd=HERE, check=True)
    print(json.dumps({"commit": options.commit} | {name: summary(*runs) for name, runs in found.items()}, indent=2))


if __name__ == "__main__":
    main()
