"""What an export tells a person, and a script."""

from __future__ import annotations

from typing import Any

from verger.insight.export.exporter import FILES
from verger.units import bytes_text

MIN_HELD_OUT = 20
"""Held-out photographs below which no accuracy is told."""


def lines(record: dict[str, Any]) -> list[str]:
    """Lines for a person.

    Parameters
    ----------
    record : dict
        What `verger.insight.export.exporter.export` returns.
    """
    exact, small = (record["models"][kind] for kind in FILES)
    size, timing = record["input"]["shape"][1], record["latency_of"]
    parity, int8 = record["parity"], record["int8"]
    of_the_run = parity["measured_on"] == "photographs of the run"
    which = _photographs(parity["photographs"]) if of_the_run else f"{parity['photographs']} drawn photographs"
    return [
        f"Model: {record['folder']}/{exact['path']}, {bytes_text(exact['bytes'])}: "
        f"{len(record['classes']):,} classes of photographs of {size} x {size} pixels.",
        f"Model with weights of 8 bits: {record['folder']}/{small['path']}, {bytes_text(small['bytes'])}.",
        f"Latency on this machine ({timing['processor']}, one thread): {exact['latency_ms']['median']:.1f} ms a "
        f"photograph, with 8 bits {small['latency_ms']['median']:.1f} ms; a phone has its own.",
        f"Parity: the probabilities of {which} are those of the run to {parity['largest_difference']:.1g}; "
        f"with 8 bits {int8['same_class']:.1%} have the same class.",
        f"Accuracy of unseen photographs: {_accuracy(record)}.",
    ]


def _accuracy(record: dict[str, Any]) -> str:
    held_out, because = record["int8"]["held_out"], record["weak_because"]
    if not held_out["photographs"]:
        return "not measured, as no photograph of the run was at hand"
    if held_out["photographs"] < MIN_HELD_OUT:
        return f"not told of {_photographs(held_out['photographs'])} (too few photographs)"
    return (
        f"{held_out['accuracy_float32']:.1%}, with 8 bits {held_out['accuracy_int8']:.1%} "
        f"({_photographs(held_out['photographs'])}; {held_out['says']})"
    ) + (f". Weak evidence: {because}" if because else "")


def _photographs(number: int) -> str:
    return "1 photograph" if number == 1 else f"{number:,} photographs"


def figures(record: dict[str, Any]) -> dict[str, Any]:
    """Values of the line for scripts.

    Parameters
    ----------
    record : dict
        What `verger.insight.export.exporter.export` returns.
    """
    exact, small, int8 = record["models"]["float32"], record["models"]["int8"], record["int8"]
    held_out = int8["held_out"] if int8["held_out"]["photographs"] >= MIN_HELD_OUT else {}
    return {
        "run_id": record["run_id"],
        "model": f"{record['folder']}/{exact['path']}",
        "bytes": exact["bytes"],
        "bytes_int8": small["bytes"],
        "latency_ms": exact["latency_ms"]["median"],
        "latency_ms_int8": small["latency_ms"]["median"],
        "parity": record["parity"]["largest_difference"],
        "accuracy": held_out.get("accuracy_float32"),
        "accuracy_int8": held_out.get("accuracy_int8"),
    }
