"""The network alone, photographs a second: as many processes as cores, one thread each, by several engines in turns.

    python bench/network_alone.py [--seconds 8] [--repeat 3] [--engines ENVIRONMENT] [--quick] [--json FILE]

All engines have the same weights and the same photographs, decoded beforehand. Those of TensorFlow are
`own_engines.py`, the others `other_engines.py`, in an environment that this program makes from
requirements/engines.lock. Where that cannot be made, they are skipped, and the figures say why.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import venv
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from engine_loop import BATCH, KERAS_CALL
from inputs import CORES, bfloat16_missing, in_turns, lay_photographs, median, network_of, parse, parser, tell
from processes import ROOT, Memory

from verger.photographs import images

HERE = Path(__file__).parent
ENGINES = ROOT / "build" / "bench-engines"
LOCK = ROOT / "requirements" / "engines.lock"
PHOTOGRAPHS = math.lcm(BATCH, KERAS_CALL)


def write_pixels(folder: Path, size: int) -> Path:
    """Photographs as the network takes them, in one array."""
    lay_photographs(folder / "photographs", PHOTOGRAPHS)
    files = sorted((folder / "photographs").rglob("*.jpg"))
    decoded = [images.decode(file.read_bytes(), size, "bicubic", "stretch").rgb for file in files]
    np.save(folder / "pixels.npy", np.stack(decoded))
    return folder / "pixels.npy"


def write_network(path: Path, weights: str) -> None:
    """The folded network in a file that needs numpy alone."""
    network = network_of(weights)
    frozen = network.freeze()
    layers = [
        operation
        if isinstance(operation, str)
        else {name: getattr(operation, name) for name in ("name", "stride", "activation", "depthwise")}
        for operation in frozen.recipe
    ]
    arrays = {f"{name}/kernel": kernel for name, (kernel, _) in frozen.folded.items()}
    arrays |= {f"{name}/bias": bias for name, (_, bias) in frozen.folded.items()}
    arrays |= {
        "layers": np.asarray(json.dumps(layers)),
        "input_size": np.asarray(network.input_size),
        "dimension": np.asarray(network.dimension),
    }
    np.savez(path, allow_pickle=False, **arrays)


def make_environment(folder: Path) -> Path:
    """The Python of the engines' environment; made from the lock, unless an earlier call has."""
    python, made = folder / "bin" / "python", folder / "engines.lock"
    if not (made.exists() and made.read_text() == LOCK.read_text()):
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
        subprocess.run([*command, "--require-hashes", "-r", str(LOCK)], check=True, capture_output=True, text=True)
        made.write_text(LOCK.read_text())
    return python


def measure(command: list[str], features: Path) -> float:
    """Photographs a second of all processes together, which compute at the same time."""
    running = [
        subprocess.Popen([*command, str(features.with_suffix(f".{number}.npy"))] , stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for number in range(CORES)
    ]  # fmt: skip
    try:
        for process in running:
            assert process.stdin and process.stdout and process.stderr
            while (line := process.stdout.readline()) != "ready\n":
                if not line:
                    raise RuntimeError(f"{command[1:3]} did not start: {process.stderr.read()[-2000:]}")
        Memory(running[0])  # as beside a run, which it costs a little
        for process in running:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        told = [json.loads(process.communicate()[0]) for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    return float(sum(each["photographs"] / each["seconds"] for each in told))


def engine_commands(folder: Path, options: argparse.Namespace) -> tuple[dict[str, list[str]], dict[str, str], Any]:
    """The command of each engine, but for the file of its features; why others are skipped; and versions."""
    size = network_of(options.weights).input_size
    pixels, seconds = str(write_pixels(folder, size)), str(options.seconds)
    own = [sys.executable, str(HERE / "own_engines.py")]
    names = ["keras", "frozen", "folded", "litert", "bfloat16"]
    skipped: dict[str, str] = {}
    if missing := bfloat16_missing():
        names.remove("bfloat16")
        skipped |= {"bfloat16": missing, "openvino-bfloat16": missing}
    commands = {name: [*own, name, options.weights, pixels, seconds] for name in names}
    others = ["onnxruntime", "openvino", *([] if missing else ["openvino-bfloat16"])]
    try:
        python = str(make_environment(options.engines))
        program, model = [python, str(HERE / "other_engines.py")], folder / "folded.onnx"
        write_network(folder / "network.npz", options.weights)
        subprocess.run(
            [*program, "export", str(folder / "network.npz"), str(model)], check=True, capture_output=True, text=True
        )
        versions = json.loads(subprocess.check_output([*program, "versions"]))
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        why = said.strip().splitlines()[-1][:300]
        return commands, skipped | dict.fromkeys(others, f"its environment could not be made: {why}"), {}
    commands |= {name: [*program, name, str(model), pixels, seconds] for name in others}
    return commands, skipped, versions


def differences(folder: Path, names: list[str]) -> dict[str, float]:
    """How far the features of each engine are from those of ``folded``, as a share of the largest feature."""
    features = {name: np.load(folder / f"{name}.0.npy") for name in names}
    ours = features["folded"]
    return {name: float(f"{np.abs(found - ours).max() / np.abs(ours).max():.1e}") for name, found in features.items()}


def folded_alone(folder: Path, weights: str, seconds: float) -> float:
    """Photographs a second of Verger's network alone: what its runs are compared with, in the same turns."""
    pixels = folder / "pixels.npy"
    if not pixels.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_pixels(folder, network_of(weights).input_size)
    command = [sys.executable, str(HERE / "own_engines.py"), "folded", weights, str(pixels), str(seconds)]
    return measure(command, folder / "folded")


def main() -> None:
    """Measure all engines in turns."""
    made = parser(__doc__)
    made.add_argument("--seconds", type=float, default=8.0, help="that each engine computes, each turn")
    made.add_argument("--engines", type=Path, default=ENGINES, help="environment of the other engines")
    options = parse(made)
    if options.quick:
        options.seconds = min(options.seconds, 1.0)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        commands, skipped, versions = engine_commands(folder, options)
        kinds = {name: partial(measure, command, folder / name) for name, command in commands.items()}
        found = in_turns(kinds, options.repeat)
        apart = differences(folder, list(commands))
    rates = {name: median(rates, 1) for name, rates in found.items()}
    figures = {
        "photographs_per_s": rates,
        "turns": {name: [round(rate, 1) for rate in rates] for name, rates in found.items()},
        "difference": apart,
        "skipped": skipped,
        "versions": versions,
        "processes": CORES,
        "seconds": options.seconds,
        "weights": options.weights,
    }
    tell(figures, options.json)


if __name__ == "__main__":
    main()
