"""Prometheus without a cluster: what it reads of a driver, and promtool, which evaluates queries on series."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chart.conftest import NAMESPACE, RELEASE, Object, Objects
from tests.conftest import ROOT

PATH = "/metrics/prometheus"
Labels = dict[str, str]
Value = float | Callable[[int], float]
"""Of a gauge: always the same, or by the minutes since it was first read."""

# A driver as the chart starts it, with its gauges and no photographs: writes what it answers to Prometheus.
DRIVER = """
import sys, urllib.request
from verger.config import RunConfig
from verger.spark.metrics import Gauges
from verger.spark.session import session
from verger.storage.stores import Stores

config = RunConfig(input="in", output="out")
with session(config, Stores(), config.output, config.input) as spark:
    Gauges(spark)
    with urllib.request.urlopen(spark.sparkContext.uiWebUrl + sys.argv[1], timeout=30) as answer:
        page = answer.read()
with open(sys.argv[2], "wb") as file:
    file.write(page)
"""


@dataclass(frozen=True)
class Metric:
    """A name and the labels that the driver gives it."""

    name: str
    labels: Labels

    def series(self, more: Labels) -> str:
        """As promtool writes it, with the labels of the target too."""
        labels = ", ".join(f"{name}={json.dumps(value)}" for name, value in sorted({**self.labels, **more}.items()))
        return f"{self.name}{{{labels}}}"


Gauges = dict[str, Metric]
"""The gauges of a driver, by their names without what Spark puts around ``photographs_NAME``."""


def read_driver(folder: Path) -> str:
    """Start a driver by spark-submit, and read what it serves."""
    program, page = folder / "driver.py", folder / "page"
    program.write_text(DRIVER)
    here = ("spark.driver.bindAddress=127.0.0.1", "spark.driver.host=127.0.0.1", "spark.ui.port=0")
    settings = [part for setting in ("spark.master=local[1]", *here) for part in ("--conf", setting)]
    command = [str(Path(sys.executable).with_name("spark-submit")), *settings, str(program), PATH, str(page)]
    paths = filter(None, (str(ROOT / "job"), os.environ.get("PYTHONPATH")))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VERGER_")}
    environment |= {"PYTHONPATH": os.pathsep.join(paths), "PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return page.read_text()


def gauges(page: str) -> Gauges:
    """Those in an answer to Prometheus."""
    found = re.findall(r"^((?:\w+_)?photographs_(\w+)_Value)\{(.*)\} \S+$", page, re.MULTILINE)
    return {short: Metric(name, dict(re.findall(r'(\w+)="([^"]*)"', labels))) for name, short, labels in found}


def target_labels(objects: Objects, release: str = RELEASE) -> Labels:
    """What the Prometheus operator's relabeling adds to all that is read of a driver, by the PodMonitor."""
    monitor = objects.one("PodMonitor")
    of_pod = objects.metadata("driver")["labels"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    return {
        "namespace": NAMESPACE,
        "pod": f"{release}-driver",
        "container": "spark-kubernetes-driver",
        "job": f"{NAMESPACE}/{monitor['metadata']['name']}",
        "endpoint": endpoint["port"],
        "instance": "10.0.0.7:4040",
        **{re.sub(r"\W", "_", name): of_pod[name] for name in monitor["spec"]["podTargetLabels"]},
    }


def seconds(duration: str) -> int:
    """Of 15s or 2m."""
    return int(duration[:-1]) * {"s": 1, "m": 60}[duration[-1]]


# Rules are evaluated at whole minutes, and what Prometheus reads it reads at other times.
LATE_S = 5


def read_every(interval: str, minutes: int, series: dict[str, Value]) -> list[Object]:
    """Series as promtool wants them, a value each LATE_S: what Prometheus reads in this time, ``_`` where nothing."""
    times = range(0, minutes * 60 + 1, LATE_S)
    read = [second // 60 if second % seconds(interval) == 0 else None for second in times]
    return [{"series": name, "values": " ".join(["_", *_values(read, value)])} for name, value in series.items()]


def _values(minutes: Iterable[int | None], value: Value) -> Iterable[str]:
    for minute in minutes:
        yield "_" if minute is None else f"{value(minute) if callable(value) else value:g}"


@dataclass(frozen=True)
class Promtool:
    """Prometheus' own parser and evaluation, in a folder for its files."""

    program: str
    folder: Path

    def check(self, groups: list[Object]) -> None:
        """Assert that Prometheus takes these groups of rules."""
        self._succeed("check", "rules", "--lint-fatal", self._write("rules.yml", {"groups": groups}))

    def read(self, page: str) -> None:
        """Assert that Prometheus can read this answer. That promtool dislikes names, which Spark chose, is no error."""
        done = subprocess.run(
            (self.program, "check", "metrics"), input=page, capture_output=True, text=True, timeout=60
        )
        assert done.returncode in (0, 3), done.stderr

    def test(self, groups: list[Object], series: list[Object], **tests: Iterable[Object]) -> None:
        """Assert that rules and queries give on the series of `read_every` what the tests say."""
        self._write("rules.yml", {"groups": groups})
        test = {
            "interval": f"{LATE_S}s",
            "input_series": series,
            **{name: list(cases) for name, cases in tests.items()},
        }
        whole = {"rule_files": ["rules.yml"], "evaluation_interval": "30s", "tests": [test]}
        self._succeed("test", "rules", self._write("tests.yml", whole))

    def _write(self, name: str, content: Any) -> str:
        (self.folder / name).write_text(json.dumps(content))
        return name

    def _succeed(self, *arguments: str) -> None:
        command = (self.program, *arguments)
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
