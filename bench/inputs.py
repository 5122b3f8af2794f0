"""What all parts of `make bench` share: their options, the photographs, the network, and how turns are taken."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from processes import ROOT

sys.path.insert(0, str(ROOT / "job"))

from verger.config import RunConfig
from verger.cores import available_cores
from verger.network.backbones import Network, resolve
from verger.network.cpu import Cpu, precision_warning
from verger.photographs import synthetic
from verger.storage.stores import Stores

CORES = available_cores()
PLAIN = ["--no-classifier", "--no-audit", "--no-report"]
"""Options of a run that does what the notebook job does, and no more."""

LABELS = 60  # of drawn photographs


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options that every part has."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--photographs", type=int, default=2000, help="of the runs beside the notebook job")
    made.add_argument("--repeat", type=int, default=3, help="turns, whose median is told")
    made.add_argument("--weights", default="bundled", help="of MobileNetV2, as `verger run` takes them")
    made.add_argument("--quick", action="store_true", help="few photographs and one turn: shows that it works")
    made.add_argument("--json", metavar="FILE", help="where the figures go, beside stdout")
    return made


def parse(made: argparse.ArgumentParser, arguments: list[str] | None = None) -> argparse.Namespace:
    """The options; ``--quick`` makes numbers small. From here on SIGTERM ends what is measured, too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = made.parse_args(arguments)
    if options.quick:
        options.photographs, options.repeat = min(options.photographs, 96), 1
    return options


def tell(figures: dict[str, Any], file: str | None) -> None:
    """Print figures, and write them to a file where one is given."""
    text = json.dumps(figures, indent=2)
    print(text)
    if file:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(text + "\n")


def fruits() -> Path | None:
    """The folder of VERGER_TEST_DATA with photographs of fruit; None where there is none."""
    folder = Path(os.environ.get("VERGER_TEST_DATA") or "/nowhere") / "fruits"
    return folder if folder.is_dir() else None


def real_photographs() -> list[Path]:
    """The photographs of VERGER_TEST_DATA, in turn from each label; none where it is not set."""
    folder = fruits() or Path("/nowhere")
    by_label = [sorted(label.glob("*.jpg")) for label in sorted(folder.glob("*/*"))]
    longest = max(map(len, by_label), default=0)
    return [files[turn] for turn in range(longest) for files in by_label if turn < len(files)]


def lay_photographs(folder: Path, count: int, start: int = 0) -> str:
    """Put JPEGs of 100x100 below a folder: real ones as far as there are some, else drawn ones.

    Parameters
    ----------
    folder : Path
        A label a folder below it.
    count : int
        How many. All are decodable: the notebook job ends at the first file that is not.
    start : int
        How many to leave out, which an earlier call has laid.

    Returns
    -------
    str
        ``real`` or ``drawn``.
    """
    real = real_photographs()[start : start + count]
    if len(real) == count:
        for path in real:
            target = folder / path.parent.parent.name / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        return "real"
    for number in range(start, start + count):
        target = folder / f"Label {number % LABELS:02d}" / f"{number:06d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(synthetic.draw_one(number, seed=0))
    return "drawn"


def many(quick: bool) -> int:
    """How many photographs a long run has: all real ones, or as many drawn ones."""
    return 240 if quick else len(real_photographs()) or 4788


def network_of(weights: str, precision: str = "float32") -> Network:
    """The network that `verger run` would use."""
    config = RunConfig(input="/in", output="/out", weights=weights, precision=precision)
    return resolve(config, Stores(), config.seed)


def bfloat16_missing() -> str:
    """Why bfloat16 is not measured here; empty where the CPU has instructions for it, even if float32 is faster."""
    return precision_warning("bfloat16").partition(": ")[0] if Cpu.read().emulates_bfloat16 else ""


def in_turns(kinds: Mapping[str, Callable[[], Any]], repeat: int) -> dict[str, list[Any]]:
    """What each kind returned, in turns: the first of every kind, then the second of every kind."""
    found: dict[str, list[Any]] = {name: [] for name in kinds}
    for turn in range(repeat):
        for name, measure in kinds.items():
            print(f"bench: {name}, turn {turn + 1} of {repeat}", file=sys.stderr, flush=True)
            found[name].append(measure())
    return found


def median(values: list[float], digits: int = 2) -> float:
    """The median, rounded."""
    return round(statistics.median(values), digits)


def largest(memories: list[dict[str, int]]) -> dict[str, int]:
    """The most of each kind, MB, over all turns."""
    kinds = {kind for memory in memories for kind in memory}
    return {kind: round(max(memory.get(kind, 0) for memory in memories) / 1e6) for kind in sorted(kinds)}
