"""The page of `make bench`, its chart and its targets, from figures that are made up."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.conftest import ROOT

MEMORY = {"driver": 300, "jvm": 700, "workers": 900, "all workers": 1900}


def job(seconds: float, features: float) -> dict:
    return {"seconds": seconds, "turns": [seconds], "stages_s": {"features": features}, "memory_mb": MEMORY}


def verger(seconds: float, features: float, warm: float = 180.0) -> dict:
    rates = {"seconds": features, "first_s": 9.0, "photographs_per_s": 150.0, "warm": warm, "longest_wait_s": 2.0}
    return job(seconds, features) | {"features": rates}


def fit(seconds: float, difference: float = 1e-9, memory: dict = MEMORY) -> dict:
    return {"memory_mb": memory, "turns": 3, "seconds": seconds, "solver": "gram", "difference": difference}


FIGURES = {
    "date": "2026-11-29",
    "revision": "0a1b2c3",
    "machine": {
        "cpu": "A CPU",
        "cores": 2,
        "instructions": ["avx2"],
        "memory_gb": 24,
        "system": "Linux",
        "prepared": True,
    },
    "versions": {"verger": "1.0", "python": "3.11"},
    "parts": {
        "runs": {
            "photographs": 2000,
            "long_photographs": 4788,
            "source": "real",
            "runs": {
                "usual": job(320.0, 75.0),
                "best": job(110.0, 75.0),
                "plain": verger(22.0, 14.0),
                "default": verger(25.0, 14.0),
                "long": verger(40.0, 30.0),
            },
            "alone_photographs_per_s": 200.0,
            "skipped": {"bfloat16": "bfloat16 is emulated on a CPU (A CPU) which has no bf16"},
        },
        "network_alone": {
            "photographs_per_s": {"keras": 112.0, "folded": 200.0, "openvino": 205.0},
            "turns": {"keras": [112.0], "folded": [200.0], "openvino": [205.0]},
            "difference": {"keras": 5e-6, "folded": 0.0, "openvino": 4e-6},
            "skipped": {"bfloat16": "no bf16"},
            "versions": {"openvino": "2026.4.1"},
            "processes": 2,
            "seconds": 8.0,
            "weights": "bundled",
        },
        "pca": {
            "components": 50,
            "limit_s": 600.0,
            "driver_memory": {"verger": "800m", "mllib": "2g"},
            "shapes": [
                {
                    "rows": 20000,
                    "dimension": 1280,
                    "fits": {"verger": fit(2.0), "mllib": fit(20.0), "scikit-learn": fit(3.0, 0.0, {"driver": 900})},
                },
                {
                    "rows": 5000,
                    "dimension": 25088,
                    "fits": {
                        "verger": fit(12.0),
                        "mllib": {
                            "memory_mb": MEMORY,
                            "turns": 1,
                            "failed": "OutOfMemoryError | heap",
                            "process_s": 30,
                        },
                        "scikit-learn": fit(60.0, 0.0, {"driver": 3000}),
                    },
                },
            ],
        },
        "cold_start": {
            "photographs": 2000,
            "known": 4788,
            "source": "real",
            "alone_s": {
                "interpreter": 0.02,
                "unprepared session": 5.0,
                "whole tensorflow": 3.0,
                "session": 2.5,
                "tensorflow": 1.0,
            },
            "first_photograph_s": 9.0,
            "timeline": [{"what": "stage: list", "second": 0.5}],
            "runs_s": {"new": 11.0, "new, default": 14.0, "unchanged": 2.0},
            "memory_mb": {},
        },
        "object_store": {
            "server": "versitygw",
            "latency_s": 0.02,
            "photographs": 4788,
            "source": "real",
            "alone_photographs_per_s": 200.0,
            "run": verger(45.0, 35.0, warm=150.0),
            "server_and_proxy_ms": 0.8,
        },
        "decode": {
            "speed": {
                "12 megapixels": {
                    "decode_per_s": {"full": 8.0, "scaled": 28.0, "times": 3.5},
                    "decode_and_network_per_s": {"full": 7.0, "scaled": 20.0, "times": 2.9},
                }
            }
        },
    },
}


@pytest.fixture
def figures() -> dict:
    return deepcopy(FIGURES)


def page(figures: dict) -> str:
    return importlib.import_module("performance_page").page(figures)


def verdicts(figures: dict) -> dict:
    found = importlib.import_module("targets").verdicts(figures["parts"])
    return {verdict.what: verdict for verdict in found}


def test_targets_are_computed_from_the_figures(figures: dict) -> None:
    found = {what: (verdict.measured, verdict.met) for what, verdict in verdicts(figures).items()}
    assert found == {
        "Features, against the notebook's feature pass": ("5.36 times", True),
        "Features in bfloat16, against the notebook's feature pass": (
            "not measured: bfloat16 is emulated on a CPU (A CPU) which has no bf16",
            None,
        ),
        "Whole run, against the notebook's best form": ("5.00 times", True),
        "Steady state from disk, of the folded network alone": ("90%", True),
        "Steady state through S3 with latency, of the folded network alone": ("75%", False),
        "First photograph on the screen, of an unprepared session and import": ("1.12 times", True),
        "First photograph, of Verger's own session and import": ("2.57 times", False),
        "Run of 5 new photographs, of an unprepared session and import": ("1.38 times", True),
        "Run of 5 new photographs, of Verger's own session and import": ("3.14 times", False),
        "Decoding of 12 megapixels, scaled against full": ("3.50 times", True),
        "PCA of 20,000 x 1,280, against MLlib": ("10.00 times", True),
        "PCA: difference to scikit-learn's shares of variance": ("1e-09", True),
        "PCA of 25,088 features: Python and JVM of the driver, 2 GiB": ("1,000 MB", True),
    }


def test_a_missed_target_is_told_on_the_page(figures: dict) -> None:
    figures["parts"]["runs"]["runs"]["plain"]["seconds"] = 44.0
    assert "| Whole run, against the notebook's best form | at least 4.50 times | 2.50 times | **no** |" in page(
        figures
    )


@pytest.mark.parametrize("name", FIGURES["parts"])
def test_a_part_that_was_left_out_is_told_with_its_reason(figures: dict, name: str) -> None:
    figures["parts"][name] = {"skipped": "there was no time"}
    text = page(figures)
    assert "Not measured: there was no time." in text
    del figures["parts"][name]
    assert "Not measured: this part did not run." in page(figures)


def test_without_any_part_no_target_is_met(figures: dict) -> None:
    figures["parts"] = {}
    assert {verdict.met for verdict in verdicts(figures).values()} == {None}
    assert "| yes |" not in page(figures)


def test_a_fit_that_failed_stands_in_its_row_as_text(figures: dict) -> None:
    assert "failed after 30 s: OutOfMemoryError \\| heap" in page(figures)


def test_every_row_of_a_table_has_as_many_cells_as_its_head(figures: dict) -> None:
    head = None
    for line in page(figures).replace("\\|", "").splitlines():
        cells = line.count("|") if line.startswith("|") else None
        assert head is None or cells in (None, head), line
        head = cells


def test_figures_of_a_trial_have_a_warning_and_meet_no_target(figures: dict) -> None:
    assert "!!! warning" not in page(figures) and "| yes |" in page(figures)
    figures["parts"]["runs"]["quick"] = True
    assert "!!! warning" in page(figures) and "| yes |" not in page(figures)


def test_the_chart_has_a_bar_for_everything_that_was_measured(figures: dict) -> None:
    drawn = ElementTree.fromstring(importlib.import_module("performance_chart").draw(figures["parts"]))
    texts = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    bars = list(drawn.iter("{http://www.w3.org/2000/svg}rect"))[1:]
    assert len(bars) == 8  # four whole jobs, three engines, and the run once warm
    assert "OpenVINO, folded" in texts and "205" in texts
    lengths = [float(bar.get("width", "0")) for bar in bars]
    assert lengths[0] == max(lengths[:4]) and lengths[0] / lengths[1] == pytest.approx(320 / 110, rel=0.01)


def test_the_page_and_the_chart_are_those_of_the_committed_figures() -> None:
    docs = ROOT / "docs"
    figures = json.loads((docs / "performance.json").read_text())
    remade = "make them again: python bench/performance.py --page"
    assert page(figures) == (docs / "performance.md").read_text(), remade
    chart = importlib.import_module("performance_chart").draw(figures["parts"])
    assert chart == (docs / "performance.svg").read_text(), remade


def test_the_readme_has_the_figures_of_the_page() -> None:
    runs = json.loads((ROOT / "docs" / "performance.json").read_text())["parts"]["runs"]
    ours, notebook = (runs["runs"][name]["seconds"] for name in ("plain", "best"))
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert f"{runs['photographs']:,} photographs take {ours:.0f} s after `verger prepare`" in readme
    assert f"the best form of a notebook's job {notebook:.0f} s" in readme


def test_parts_of_another_machine_are_not_kept_beside_new_ones(figures: dict, tmp_path: Path) -> None:
    (tmp_path / "performance.json").write_text(json.dumps(figures))
    command = [sys.executable, str(ROOT / "bench" / "performance.py"), "--only", "decode", "--docs", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "of another CPU or other versions. Measure all parts, or write to another folder" in done.stderr
    assert json.loads((tmp_path / "performance.json").read_text()) == figures


def test_the_reason_of_a_failed_fit_is_the_exception_of_java() -> None:
    lines = [
        "Traceback (most recent call last):",
        "py4j.protocol.Py4JJavaError: An error occurred while calling o121.fit.",
        ": org.apache.spark.SparkException: Job aborted due to stage failure: results are larger than maxResultSize",
    ]
    reason = importlib.import_module("pca").reason
    assert reason(lines) == lines[-1].removeprefix(": ")
    heap = "java.lang.OutOfMemoryError: Java heap space"
    assert reason([*lines, f"Caused by: {heap}"]) == heap
    assert reason([]) == "ended without a word"
