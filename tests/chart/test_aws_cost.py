"""What the pages say that the cluster of manifests/aws costs, against what `verger plan` says for its values."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.chart.aws import AWS, document
from tests.conftest import ROOT
from verger.cli import main
from verger.network import cpu
from verger.planning import prices

pytestmark = pytest.mark.required_in_ci

README = (AWS / "README.md").read_text()
COST = (ROOT / "docs" / "cost.md").read_text()
# Fruits-360 as the pages price it: so many photographs, of so many bytes in all.
PHOTOGRAPHS, BYTES = 4_788, 28_148_511


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command by which the page prices a run, over files of those sizes in a folder."""
    (line,) = re.findall(r"^    verger (plan --input .*)$", README, re.MULTILINE)
    words = shlex.split(line)
    folder = tmp_path_factory.mktemp("priced")
    (folder / "in").mkdir()
    for number in range(PHOTOGRAPHS):
        with (folder / "in" / f"{number:04d}.jpg").open("wb") as file:
            file.truncate(BYTES // PHOTOGRAPHS + (number < BYTES % PHOTOGRAPHS))
    for option, place in (("--input", folder / "in"), ("--output", folder / "out")):
        words[words.index(option) + 1] = str(place)
    return words


@pytest.fixture(autouse=True)
def _cpu_of_the_benchmark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The figures of the pages are those of a CPU with AVX-512, whatever this machine has."""
    monkeypatch.setattr(cpu, "_read", lambda: "model name : Xeon\nflags : avx avx2 avx512f avx512_vnni avx512_bf16\n")
    for name in ("ONEDNN_MAX_CPU_ISA", "TF_ENABLE_ONEDNN_OPTS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def planned(command: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What `verger plan` says, as JSON."""
    said: dict[str, Any] = json.loads(run([*command, "--json"], capsys))
    return said


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(words)
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    return out


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def rows() -> dict[str, tuple[str, str]]:
    """The table of the page: USD and EUR an hour, by what is paid for."""
    table = README.partition("## What it costs")[2].partition("\n## ")[0]
    found = re.findall(r"^\|[^|]*\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", table, re.MULTILINE)
    return {what: (usd, eur) for what, usd, eur in found}


def test_the_command_is_for_the_values_of_the_run_and_for_the_nodes_of_the_cluster(command: list[str]) -> None:
    values, cluster = document("run-values.yaml"), document("cluster.yaml")
    assert int(option(command, "--nodes")) == values["executor"]["instances"]
    assert int(option(command, "--node-cores")) == values["executor"]["cores"] == prices.NODE_VCPU
    assert option(command, "--region") == values["run"]["region"] == cluster["metadata"]["region"]
    # What else shapes a run's work and price is as `verger plan` takes it without options.
    assert set(values["run"]) == {"name", "input", "output", "region", "driver_memory"}
    drivers, executors = cluster["managedNodeGroups"]
    assert drivers["instanceType"] == executors["instanceTypes"][0] == prices.NODE_TYPE
    assert (drivers["minSize"], executors["maxSize"]) == (1, values["executor"]["instances"])


def test_each_known_price_of_an_hour_is_the_plans(planned: dict[str, Any]) -> None:
    items = {item["what"]: item["price"] for item in planned["cost"]["items"]}
    assert all(price["per"] == 1 and price["currency"] == "USD" for price in (items["Nodes"], items["Control plane"]))
    node, plane = items["Nodes"]["amount"], items["Control plane"]["amount"]
    usd_per_eur = planned["cost"]["usd_per_eur"]["amount"]
    count = document("run-values.yaml")["executor"]["instances"]
    expected = {
        "control plane": (f"{plane:.2f}", plane),
        "one m5.xlarge on demand": (f"{node:.3f}", node),
        "known sum": (f"{plane + node:.3f}", plane + node),
        "six m5.xlarge more, at most, at the price on demand": (f"{count * node:.3f}", count * node),
    }
    said = {what: amounts for what, amounts in rows().items() if amounts[0] not in ("unknown", "USD an hour", "---")}
    assert said == {what: (text, f"{usd / usd_per_eur:.3f}") for what, (text, usd) in expected.items()}
    assert f"A cluster that stands for a day costs EUR {24 * (plane + node) / usd_per_eur:.2f} and" in README


def test_the_price_of_the_run_is_the_plans(planned: dict[str, Any]) -> None:
    assert (planned["listed"], planned["new"], planned["nodes"]) == (PHOTOGRAPHS, PHOTOGRAPHS, 6)
    assert planned["cost"]["unknown"] == []
    said = f"For the {PHOTOGRAPHS:,} photographs of Fruits-360 the plan says EUR {planned['cost']['eur']:.4f} on six"
    assert said in " ".join(README.split())


def test_the_months_of_the_prices_are_said(planned: dict[str, Any]) -> None:
    dates = {item["what"]: item["price"]["date"] for item in planned["cost"]["items"]}
    months = {"2023-12": "December 2023", "2024-04": "April 2024", "2026-09-28": "28 September 2026"}
    said = (
        f"They are as of {months[dates['Nodes']]} (nodes), {months[dates['Control plane']]} (control plane) and "
        f"{months[dates['LIST']]} (S3)."
    )
    assert said in " ".join(README.split())
    assert planned["cost"]["usd_per_eur"]["date"] == "2023-12-29"
    assert "at the ECB's rate of 29 December 2023" in " ".join(README.split())


def test_the_example_of_the_page_on_costs_is_what_plan_prints(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    printed = iter(run(command, capsys).splitlines())
    example = [line[4:] for line in COST.partition("## An example")[2].splitlines() if line.startswith("    ")]
    assert len(example) > 10
    assert [line for line in example if line not in printed] == []  # all of them, in this order
