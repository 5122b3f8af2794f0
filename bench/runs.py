"""Whole runs beside the notebook job and the network alone, in turns: seconds, rates, and peak memory.

    python bench/runs.py [--photographs 2000] [--repeat 3] [--forms usual best] [--quick] [--json FILE]

Processes of their own, which take turns:

- **usual**, **best**: `notebook.py` in its two forms, on ``--photographs``;
- **plain**: `verger run` on the same ones, for as many components, without classifier, audit and report, as the
  notebook has none of these;
- **default**: `verger run` as it comes; **bfloat16**: plain, with bfloat16, where the CPU has it;
- **alone**: the folded network alone, in as many processes as cores;
- **long**: a plain run over all photographs (4,788), from which the rate of the features stage comes.

Every run begins with an empty output. Memory is sampled from /proc five times a second: of the driver's Python, its
JVM, the largest worker, and all workers together. Workers share pages, which count for each of them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from inputs import PLAIN, bfloat16_missing, in_turns, largest, lay_photographs, many, median, parse, parser, tell
from network_alone import folded_alone
from processes import MAIN, events, told

HERE = Path(__file__).parent
INTERVAL_S = 0.25  # of progress lines
COMPONENTS = "50"  # of the notebook


def verger_run(source: str, output: str, *options: str, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """`verger run` as a process: what `processes.told` tells, and the run's own lines as ``events``."""
    command = [sys.executable, str(MAIN), "run", "--input", source, "--output", output]
    done = told([*command, "--progress-interval", str(INTERVAL_S), *options], environment=environment)
    return done | {"events": events(done["lines"])}


def features_stage(said: list[tuple[float, dict[str, Any]]]) -> dict[str, float]:
    """What a run's lines say of its features stage.

    Parameters
    ----------
    said : list of (float, dict)
        Second since the start of the process, and JSON line.

    Returns
    -------
    dict
        ``seconds`` from the stage's line to that of the next stage, so with the last commit; ``first_s``, the second of
        the process in which the first photographs were shown; ``photographs_per_s`` of the whole stage; ``warm``: the
        rate of the photographs after the first that were shown, last commit included; ``longest_wait_s``: the most
        between two lines that showed more photographs than before.
    """
    began = next(at for at, line in said if line.get("stage") == "features" and line["event"] == "stage")
    ended = next(at for at, line in said if at > began and line["event"] == "stage" and line["stage"] != "features")
    shown = [(at, line["done"]) for at, line in said if line["event"] == "progress" and line["done"]]
    (first_s, first), total = shown[0], shown[-1][1]
    grown = [at for (at, done), (_, before) in zip(shown[1:], shown, strict=False) if done > before]
    return {
        "seconds": ended - began,
        "first_s": first_s,
        "photographs_per_s": total / (ended - began),
        "warm": (total - first) / (ended - first_s) if total > first else total / (ended - began),
        "longest_wait_s": max((after - before for before, after in pairwise([first_s, *grown])), default=0.0),
    }


def notebook(folder: Path, form: str, options: argparse.Namespace) -> dict[str, Any]:
    """The notebook job as a process."""
    file, output = folder / "notebook.json", folder / "notebook"
    command = [sys.executable, str(HERE / "notebook.py"), "--input", str(folder / "in"), "--output", str(output)]
    few = ["--partitions", "2"] if options.quick else []
    same = ["--weights", options.weights, "--components", COMPONENTS]
    done = told([*command, "--form", form, *same, "--json", str(file), *few])
    said = json.loads(file.read_text())
    assert said["rows"] == options.photographs
    shutil.rmtree(output)
    return {"seconds": done["seconds"], "memory": done["memory"], "stages_s": said["stages_s"]}


def run(folder: Path, name: str, options: argparse.Namespace, *more: str) -> dict[str, Any]:
    """A run with an empty output."""
    output = folder / "out"
    done = verger_run(str(folder / name), str(output), "--weights", options.weights, *more)
    manifest = json.loads(next(output.glob("runs/*/manifest.json")).read_text())
    shutil.rmtree(output)
    return {
        "seconds": done["seconds"],
        "memory": done["memory"],
        "stages_s": manifest["timings_s"],
        "features": features_stage(done["events"]),
    }


def summary(turns: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the turns, and the most memory of any."""
    stages = {name: median([turn["stages_s"][name] for turn in turns]) for name in turns[0]["stages_s"]}
    found = {
        "seconds": median([turn["seconds"] for turn in turns]),
        "turns": [round(turn["seconds"], 2) for turn in turns],
        "stages_s": stages,
        "memory_mb": largest([turn["memory"] for turn in turns]),
    }
    if "features" in turns[0]:
        found["features"] = {name: median([turn["features"][name] for turn in turns]) for name in turns[0]["features"]}
        found["features"]["longest_wait_s"] = round(max(turn["features"]["longest_wait_s"] for turn in turns), 2)
    return found


def main() -> None:
    """Measure all kinds in turns."""
    made = parser(__doc__)
    made.add_argument("--forms", nargs="*", choices=("usual", "best"), default=["usual", "best"])
    options = parse(made)
    missing = bfloat16_missing()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        source, long = lay_photographs(folder / "in", options.photographs), many(options.quick)
        lay_photographs(folder / "long", long)
        kinds: dict[str, Callable[[], Any]] = {form: partial(notebook, folder, form, options) for form in options.forms}
        like_notebook = [*PLAIN, "--components", COMPONENTS]
        kinds["plain"] = lambda: run(folder, "in", options, *like_notebook)
        kinds["default"] = lambda: run(folder, "in", options)
        if not missing:
            kinds["bfloat16"] = lambda: run(folder, "in", options, *like_notebook, "--precision", "bfloat16")
        kinds["alone"] = lambda: folded_alone(folder / "alone", options.weights, 1.0 if options.quick else 8.0)
        kinds["long"] = lambda: run(folder, "long", options, *PLAIN)
        found = in_turns(kinds, options.repeat)
    alone = found.pop("alone")
    figures = {
        "photographs": options.photographs,
        "long_photographs": long,
        "source": source,
        "runs": {name: summary(turns) for name, turns in found.items()},
        "alone_photographs_per_s": median(alone, 1),
        "alone_turns": [round(rate, 1) for rate in alone],
        "skipped": {"bfloat16": missing} if missing else {},
    }
    tell(figures, options.json)


if __name__ == "__main__":
    main()
