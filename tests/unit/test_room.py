"""Whether there is room for the tests on a cluster: sums over what Kubernetes and the machine say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.e2e.room import GIB, MIB, NEEDED, lacking, measured, requested, unrequested

NODES = [
    {"metadata": {"name": "a"}, "status": {"allocatable": {"memory": "16374764Ki"}}},
    {"metadata": {"name": "b"}, "status": {"allocatable": {"memory": "8Gi"}}},
]


def pod(node: str | None, phase: str, *asked: str | None) -> dict[str, Any]:
    containers = [{"resources": {"requests": {"memory": one}} if one else {}} for one in asked]
    return {"spec": {"containers": containers} | ({"nodeName": node} if node else {}), "status": {"phase": phase}}


def test_memory_that_pods_ask_for_is_no_longer_there() -> None:
    pods = [pod("b", "Running", "1Gi", "512Mi", None), pod("b", "Pending", "500M")]
    assert unrequested(NODES, pods) == {"a": 16374764 * 1024, "b": 8 * GIB - 1536 * MIB - 500_000_000}


@pytest.mark.parametrize(
    "other", [pod("b", "Succeeded", "1Gi"), pod("c", "Running", "1Gi"), pod(None, "Pending", "1Gi")]
)
def test_pods_that_have_ended_or_are_elsewhere_take_nothing(other: dict[str, Any]) -> None:
    assert unrequested(NODES, [other]) == unrequested(NODES, [])


def test_a_pod_asks_for_what_its_containers_do() -> None:
    assert requested(pod("a", "Running", "2432Mi", "100Mi")) == 2532 * MIB


def test_nothing_is_lacking_where_there_is_as_much_as_is_needed() -> None:
    assert lacking(NEEDED, NEEDED) == ""


@pytest.mark.parametrize("name", ["worker", "workers", "memory", "disk"])
def test_what_is_lacking_is_named_with_what_is_there_and_what_is_needed(name: str) -> None:
    needed, half = replace(NEEDED, **{name: 3 * GIB}), replace(NEEDED, **{name: 3 * GIB // 2})
    said = lacking(needed, half)
    assert "1.5 GiB" in said
    assert said.endswith("and 3.0 are needed")
    assert ";" not in said


def test_all_that_is_lacking_is_in_one_line() -> None:
    said = lacking(NEEDED, replace(NEEDED, memory=0, disk=0))
    assert said.count("0.0 GiB") == 2
    assert "\n" not in said


def test_memory_and_disk_are_read_from_what_a_node_says() -> None:
    said = (
        "MemAvailable:   22860544 kB\n"
        "Filesystem     1K-blocks     Used Available Use% Mounted on\n"
        "/dev/vda       264212084 78324424  17000000  82% /var\n"
    )
    assert measured(said) == (22860544 * 1024, 17000000 * 1024)
