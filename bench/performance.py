"""All of `make bench`: runs each part, keeps their figures, and writes docs/performance.md with its chart.

    python bench/performance.py [--quick] [--only PART ...] [--page] [--docs FOLDER]

Parts: runs, network_alone, pca, cold_start, object_store, decode; each is a program of its own. ``--only`` measures
some of them anew and keeps the figures of the others, which must be of the same CPU and the same versions. ``--page``
measures nothing. ``--quick`` takes minutes, and its figures mean nothing.

The whole takes an hour on two cores, and some GB of disk while it runs. A part that fails is told on the page, and by
the exit code at the end.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import machine
from performance_chart import draw
from performance_page import PARTS, page
from processes import ROOT

HERE = Path(__file__).parent


def measure(name: str, arguments: list[str]) -> dict[str, Any]:
    """The figures of a part; ``skipped`` where it failed or is not there."""
    program = HERE / f"{name}.py"
    if not program.exists():
        return {"skipped": f"bench/{program.name} is not there"}
    began = time.monotonic()
    print(f"bench: {name}.py {' '.join(arguments)}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        command = [sys.executable, str(program), *arguments, "--json", str(file)]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        if done.returncode or not file.exists():
            return {"skipped": f"bench/{program.name} ended with exit code {done.returncode}", "failed": True}
        figures: dict[str, Any] = json.loads(file.read_text())
    took = round(time.monotonic() - began)
    print(f"bench: {name} took {took} s", file=sys.stderr, flush=True)
    return figures | {"took_s": took}


def arguments_of(name: str, options: argparse.Namespace) -> list[str]:
    """What a part is called with."""
    if name == "decode":
        # As many drawn photographs as its speed takes: drawing more would take longer than all that is measured.
        return ["--repeat", "1", "--only", "speed"] if options.quick else ["--repeat", "5", "--drawn", "16"]
    given = ["--repeat", str(options.repeat), "--photographs", str(options.photographs), "--weights", options.weights]
    if name == "network_alone" and options.engines:
        given += ["--engines", options.engines]
    return given + (["--quick"] if options.quick else [])


def require_same_machine(figures: dict[str, Any], only: list[str], now: dict[str, Any], docs: Path) -> None:
    """End where figures that are kept are of another CPU or other versions: one page is about one machine."""
    kept = [name for name in figures["parts"] if name not in only]
    same = [
        figures.get("machine", {}).get(name) == now["machine"][name] for name in ("cpu", "cores", "instructions")
    ] + [figures.get("versions") == now["versions"]]
    if kept and not all(same):
        sys.exit(
            f"bench: {docs / 'performance.json'} has {', '.join(kept)} of another CPU or other versions. "
            "Measure all parts, or write to another folder: --docs FOLDER"
        )


def write(docs: Path, figures: dict[str, Any]) -> None:
    """Write the figures, the page and the chart."""
    docs.mkdir(parents=True, exist_ok=True)
    (docs / "performance.json").write_text(json.dumps(figures, indent=2) + "\n")
    (docs / "performance.md").write_text(page(figures))
    (docs / "performance.svg").write_text(draw(figures["parts"]))


def main() -> None:
    """Measure, and write after each part, so that nothing is lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--weights", default="bundled")
    parser.add_argument("--engines", metavar="FOLDER", help="environment of the other engines, default build/")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--page", action="store_true", help="write page and chart from the figures that there are")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    options = parser.parse_args()
    kept = options.docs / "performance.json"
    figures: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {"parts": {}}
    if not options.page:
        now = {"machine": machine.describe(), "versions": machine.versions(), "revision": machine.revision()}
        require_same_machine(figures, options.only, now, options.docs)
        figures["parts"] = {name: part for name, part in figures["parts"].items() if name not in options.only}
        figures |= {"date": datetime.now(UTC).date().isoformat(), **now}
        for name in options.only:
            figures["parts"][name] = measure(name, arguments_of(name, options)) | {"quick": options.quick}
            write(options.docs, figures)
    write(options.docs, figures)
    if failed := [name for name in PARTS if figures["parts"].get(name, {}).get("failed")]:
        sys.exit(f"bench: {', '.join(failed)} failed, as is told above and on the page")


if __name__ == "__main__":
    main()
