"""What an export tells a person, and a script."""

from __future__ import annotations

from typing import Any

from verger.insight.export.exporter import FILES

TELLING = 20
"""Photographs held out below which people are told no accuracy."""


def lines(record: dict[str, Any]) -> list[str]:
    """What an export tells a person."""
    exact, small = (record["models"][kind] for kind in FILES)
    size, timing = record["input"]["shape"][1], record["latency_of"]
    parity, int8 = record["parity"], record["int8"]
    said = [
        f"Model: {record['folder']}/{exact['path']}, {exact['bytes'] / 1e6:.1f} MB: "
        f"{len(record['classes']):,} classes of photographs of {size} x {size} pixels.",
        f"Model with weights of 8 bits: {record['folder']}/{small['path']}, {small['bytes'] / 1e6:.1f} MB.",
        f"Latency on this machine ({timing['processor']}, one thread): {exact['latency_ms']['median']:.1f} ms a "
        f"photograph, with 8 bits {small['latency_ms']['median']:.1f} ms; a phone has its own.",
    ]
    of_the_run = parity["measured_on"] == "photographs of the run"
    which = _photographs(parity["photographs"]) if of_the_run else f"{parity['photographs']} drawn photographs"
    return [
        *said,
        f"Parity: the probabilities of {which} are those of the run to {parity['largest_difference']:.1g}; "
        f"with 8 bits {int8['same_class']:.1%} have the same class.",
        f"Accuracy of unseen photographs: {_accuracy(record)}.",
    ]


def _accuracy(record: dict[str, Any]) -> str:
    held, because = record["int8"]["held_out"], record["weak_because"]
    if not held["photographs"]:
        return "not measured, as no photograph of the run was at hand"
    if held["photographs"] < TELLING:
        return f"not told of {_photographs(held['photographs'])} (too few photographs)"
    return (
        f"{held['accuracy_float32']:.1%}, with 8 bits {held['accuracy_int8']:.1%} "
        f"({_photographs(held['photographs'])}; {held['says']})"
    ) + (f". Weak evidence: {because}" if because else "")


def _photographs(number: int) -> str:
    return "1 photograph" if number == 1 else f"{number:,} photographs"


def figures(record: dict[str, Any]) -> dict[str, Any]:
    """The same for a script."""
    exact, small, int8 = record["models"]["float32"], record["models"]["int8"], record["int8"]
    held = int8["held_out"] if int8["held_out"]["photographs"] >= TELLING else {}
    return {
        "run_id": record["run_id"],
        "model": f"{record['folder']}/{exact['path']}",
        "bytes": exact["bytes"],
        "bytes_int8": small["bytes"],
        "latency_ms": exact["latency_ms"]["median"],
        "latency_ms_int8": small["latency_ms"]["median"],
        "parity": record["parity"]["largest_difference"],
        "accuracy": held.get("accuracy_float32"),
        "accuracy_int8": held.get("accuracy_int8"),
    }
