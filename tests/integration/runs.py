"""What the tests of whole runs share: photographs to run on, and runs as processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.conftest import ROOT
from verger import pipeline
from verger.config import RunConfig
from verger.progress import Progress

WITHOUT_INSIGHT = {"classifier": False, "report": False}
WITH_INSIGHT = {"classifier": True, "report": True}


def photograph(path: Path, seed: int, edge: int = 24) -> Path:
    """A small PNG, different for every seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    Image.fromarray(pixels).resize((edge, edge), Image.Resampling.BICUBIC).save(path)
    return path


def photographs(folder: Path, count: int, labels: int = 4, start: int = 0) -> list[Path]:
    """As many photographs, dealt to labels."""
    numbers = range(start, start + count)
    return [photograph(folder / f"label {number % labels}" / f"{number:04d}.png", number) for number in numbers]


def config(folder: Path, **settings: Any) -> RunConfig:
    """Pixels from folder/in to folder/out, with nothing beside the table: quick, and exact."""
    defaults = {"input": str(folder / "in"), "output": str(folder / "out"), "backbone": "pixels", "input_size": 8}
    return RunConfig(**{**defaults, **WITHOUT_INSIGHT, **settings})


def run(spark: Any, folder: Path, **settings: Any) -> dict[str, Any]:
    """A run in this process, in the session of all tests; its manifest."""
    with open(os.devnull, "w") as quiet, Progress(quiet) as progress:
        return pipeline.run(config(folder, **settings), spark, progress).as_dict()


def matrix(table: Any, column: str = "pca_features") -> np.ndarray:
    """A column of lists as an array, a row a photograph."""
    return np.stack(table[column].to_numpy(zero_copy_only=False)).astype(np.float64)


def verger(*arguments: str, inject: str = "", cwd: Path | None = None, **popen: Any) -> subprocess.Popen[str]:
    """`verger` as a process of its own; runs leave classifier and report out, unless options ask for them.

    Parameters
    ----------
    inject : str
        Python that the process runs as it starts, and its workers too: how tests break what cannot be broken from
        outside. It may use ``cwd`` for files.
    """
    quick = {f"VERGER_{name.upper()}": str(value).lower() for name, value in WITHOUT_INSIGHT.items()}
    return _start([sys.executable, MAIN, *arguments], inject, cwd, popen, quick)


def submitted(
    *arguments: str, cwd: Path, settings: dict[str, str] | None = None, inject: str = "", **environment: str
) -> subprocess.Popen[str]:
    """The same by spark-submit and in JSON, as a driver's pod runs it; what it says is in ``cwd / "log"``."""
    conf = {"spark.master": "local[2]", "spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
    options = [part for name, value in (conf | (settings or {})).items() for part in ("--conf", f"{name}={value}")]
    log4j = {"SPARK_SUBMIT_OPTS": f"-Dlog4j2.configurationFile=file:{ROOT / 'image' / 'log4j2.properties'}"}
    command = [str(Path(sys.executable).with_name("spark-submit")), *options, MAIN, *arguments]
    with (cwd / "log").open("w") as log:
        more = {"VERGER_LOG_FORMAT": "json"} | log4j | environment
        return _start(command, inject, cwd, {"stdout": log, "stderr": log}, more)


MAIN = str(ROOT / "job" / "main.py")


def _start(
    command: list[str], inject: str, cwd: Path | None, popen: dict[str, Any], more: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("VERGER_") or name == "VERGER_JARS"
    }
    paths = [str(ROOT / "job"), str(ROOT), environment.get("PYTHONPATH", "")]
    if inject:
        assert cwd is not None
        (cwd / "injected").mkdir(exist_ok=True)
        if "COVERAGE_PROCESS_CONFIG" in environment:  # it hides the sitecustomize of tests/integration/measured
            inject = f"import tests.integration.measured_workers\n{inject}"
        (cwd / "injected" / "sitecustomize.py").write_text(inject)
        paths.insert(0, str(cwd / "injected"))
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1", **(more or {})}
    streams = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "stdin": subprocess.DEVNULL,
        "start_new_session": True,
    }
    return subprocess.Popen(command, env=environment, cwd=cwd, text=True, **(streams | popen))


def finished(process: subprocess.Popen[str], timeout: float = 120) -> tuple[int, str, list[dict[str, Any]]]:
    """Wait for it: exit code, stderr, and the JSON lines of stderr."""
    _, stderr = process.communicate(timeout=timeout)
    return process.returncode, stderr, [json.loads(line) for line in stderr.splitlines() if line.startswith("{")]


def signalled(
    process: subprocess.Popen[str], when: Callable[[dict[str, Any]], bool], number: int, after: float = 0
) -> None:
    """Read its JSON lines until one is ``when``, then send the signal; proves that the line was there."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("{") and when(json.loads(line)):
            time.sleep(after)
            os.killpg(process.pid, number)  # as shells and init systems do
            return
    raise AssertionError("the process ended before that line")
