"""From the command to the first photograph, second by second; and runs in which little or nothing is new.

    python bench/cold_start.py [--photographs 2000] [--repeat 3] [--quick] [--json FILE]

Processes of their own, which take turns:

- **interpreter**, **unprepared session**, **whole tensorflow**: Python alone; a SparkSession until it has started, as
  without `verger prepare`; what ``import tensorflow`` takes: beside these the others are judged;
- **session**, **tensorflow**: a SparkSession as Verger starts it, after `verger prepare` where that was called; what a
  worker imports of TensorFlow;
- **first**: `verger run` over ``--photographs``, until the line that shows the first of them. Its lines have the
  times at which they came. A hook in driver and workers notes when they
  begin and end to import TensorFlow, and have a network;
- **new**: a run over 5 new photographs beside all (4,788) that the store knows, without classifier, audit and report;
  **new, default**: the same as it comes; **unchanged**: the run once more, in which nothing is new.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from inputs import PLAIN, in_turns, largest, lay_photographs, many, median, parse, parser, tell
from processes import MAIN, events, told
from runs import INTERVAL_S, verger_run

from verger.photographs import synthetic

NEW = 5
UP = "print('up', flush=True)"
SESSION = (
    "from verger.config import RunConfig; from verger.spark.session import session;"
    "from verger.storage.stores import Stores\n"
    f"with session(RunConfig(input='/in', output='/out'), Stores(), None): {UP}"
)
ALONE = {
    "interpreter": UP,
    "unprepared session": f"from verger.spark import class_archive; class_archive.options = lambda *_: []; {SESSION}",
    "session": SESSION,
    "tensorflow": f"import verger.network.operations; {UP}",
    "whole tensorflow": f"import tensorflow; {UP}",
}
ALONE_IN = {"PYTHONPATH": str(MAIN.parent), "TF_CPP_MIN_LOG_LEVEL": "3"}

# A sitecustomize: it notes when modules are imported, and networks built, in every process that starts.
HOOK = """
import os, sys, time

def mark(what):
    with open(os.environ["BENCH_MARKS"], "a") as log:
        log.write(f"{time.time()} {os.getpid()} {what}\\n")

WATCHED = {"pyspark": "PySpark", "verger.network.operations": "TensorFlow", "verger.network.graph": ""}

class Watching:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in WATCHED:
            return None
        finders = [finder for finder in sys.meta_path if finder is not Watching]
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in finders)), None)
        if spec is not None and spec.loader is not None:
            watch(spec.loader, WATCHED[name])
        return spec

def watch(loader, what):
    load = loader.exec_module
    def exec_module(module):
        if what:
            mark(f"imports {what}")
        load(module)
        if what:
            mark(f"has imported {what}")
        else:
            watch_networks(module)
    loader.exec_module = exec_module

def watch_networks(module):
    build = module.build
    def building(*given, **named):
        compute, waiting = build(*given, **named), [True]
        mark("has built the network")
        def computing(pixels):
            features = compute(pixels)
            if waiting and pixels.any():
                waiting.clear()
                mark("has computed its first batch of photographs")
            elif waiting:
                mark("has tried the network")
            return features
        return computing
    module.build = building

mark("starts")
sys.meta_path.insert(0, Watching)
"""


def alone(code: str) -> float:
    """Seconds until a process that does nothing else says that it is up."""
    done = told([sys.executable, "-c", code], environment=ALONE_IN)
    return float(next(at for at, text in done["lines"] if text == "up"))


def first(folder: Path, weights: str) -> dict[str, Any]:
    """A run until its first photographs are shown: the timeline, and the second at which they are."""
    hook, marks = folder / "hook", folder / "marks"
    hook.mkdir(exist_ok=True)
    (hook / "sitecustomize.py").write_text(HOOK)
    marks.unlink(missing_ok=True)
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    command = [sys.executable, str(MAIN), "run", "--input", str(folder / "in"), "--output", str(folder / "first")]
    done = told(
        [*command, "--weights", weights, "--progress-interval", str(INTERVAL_S), *PLAIN],
        until=shows_photographs,
        environment={
            "PYTHONPATH": f"{hook}{os.pathsep}{MAIN.parent}",
            "BENCH_MARKS": str(marks),
            "TMPDIR": str(temporary),
        },
    )
    shutil.rmtree(folder / "first", ignore_errors=True)
    shutil.rmtree(temporary, ignore_errors=True)
    said = events(done["lines"])
    lines = marks.read_text().splitlines()
    shown = next(at for at, line in said if line["event"] == "progress" and line["done"])
    return {"first_s": shown, "timeline": timeline(said, lines, done["began"], done["pid"])}


def shows_photographs(text: str) -> bool:
    """Whether a line of a run says that photographs are done."""
    if not text.startswith('{"event": "progress"'):
        return False
    return bool(events([(0.0, text)])[0][1]["done"])


def timeline(said: list[tuple[float, dict[str, Any]]], marks: list[str], began: float, driver: int) -> dict[str, float]:
    """Seconds since the command at which something happened for the first time.

    Parameters
    ----------
    said : list of (float, dict)
        Second, and JSON line of the run.
    marks : list of str
        Time (seconds since the epoch), process, and what happened there.
    began : float
        When the command was given, seconds since the epoch.
    driver : int
        Process id of the driver; all others are workers.

    Returns
    -------
    dict of str to float
        In the order of time.
    """
    found: dict[str, float] = {}

    def happened(what: str, second: float) -> None:
        found[what] = min(found.get(what, second), second)

    for line in marks:
        at, process, what = line.split(" ", 2)
        forks = what.startswith(("starts", "imports", "has imported"))  # workers are forked after that
        who = "driver" if int(process) == driver else "the workers' parent process" if forks else "first worker"
        happened(f"{who} {what}", float(at) - began)
    for second, event in said:
        if event["event"] == "stage":
            happened(f"stage `{event['stage']}` begins", second)
        elif event["event"] == "progress" and event["done"]:
            happened("first photographs on the screen", second)
    return dict(sorted(found.items(), key=lambda pair: pair[1]))


def medians(timelines: list[dict[str, float]]) -> list[dict[str, Any]]:
    """One timeline from those of all turns: what happened in each of them."""
    common = [what for what in timelines[0] if all(what in each for each in timelines)]
    rows = [{"what": what, "second": round(statistics.median(each[what] for each in timelines), 2)} for what in common]
    return sorted(rows, key=lambda row: row["second"])


class Known:
    """A folder and an output that knows all its photographs; each run gets a copy of the output."""

    def __init__(self, folder: Path, weights: str, count: int) -> None:
        self._folder, self._weights = folder, weights
        self.source = lay_photographs(folder / "known", count)
        self._run(folder / "base")

    def _run(self, output: Path, *options: str) -> dict[str, Any]:
        return verger_run(str(self._folder / "known"), str(output), "--weights", self._weights, *options)

    def run(self, new: int, *options: str) -> dict[str, Any]:
        """Seconds and memory of a run with some new photographs, which are taken away again."""
        output, added = self._folder / "copy", self._folder / "known" / "New label"
        shutil.copytree(self._folder / "base", output, copy_function=os.link)
        added.mkdir(exist_ok=True)
        for number in range(new):
            (added / f"{number}.jpg").write_bytes(synthetic.draw_one(10**6 + number, seed=1))
        done = self._run(output, *options)
        last = done["events"][-1][1]
        assert last["event"] == "done" and last["computed"] == new, last
        shutil.rmtree(output)
        shutil.rmtree(added)
        return {"seconds": done["seconds"], "memory": done["memory"]}


def main() -> None:
    """Measure all in turns."""
    options = parse(parser(__doc__))
    with tempfile.TemporaryDirectory() as place:
        folder, count = Path(place), many(options.quick)
        lay_photographs(folder / "in", options.photographs)
        known = Known(folder, options.weights, count)
        found = in_turns(
            {
                **{name: partial(alone, code) for name, code in ALONE.items()},
                "first": lambda: first(folder, options.weights),
                "new": lambda: known.run(NEW, *PLAIN),
                "new, default": lambda: known.run(NEW),
                "unchanged": lambda: known.run(0),
            },
            options.repeat,
        )
    runs = {name: found[name] for name in ("new", "new, default", "unchanged")}
    figures = {
        "photographs": options.photographs,
        "known": count,
        "source": known.source,
        "alone_s": {name: median(found[name]) for name in ALONE},
        "first_photograph_s": median([turn["first_s"] for turn in found["first"]]),
        "timeline": medians([turn["timeline"] for turn in found["first"]]),
        "runs_s": {name: median([turn["seconds"] for turn in turns]) for name, turns in runs.items()},
        "memory_mb": {name: largest([turn["memory"] for turn in turns]) for name, turns in runs.items()},
    }
    tell(figures, options.json)


if __name__ == "__main__":
    main()
