"""A plan as tables for a terminal."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from verger.planning import prices
from verger.planning.cost import Bill, Item
from verger.planning.plan import Plan
from verger.text import one_line
from verger.units import bytes_text, estimated_seconds_text, eur_column


def table(planned: Plan) -> Group:
    """A plan as tables for a terminal.

    Parameters
    ----------
    planned : Plan
        What to show.

    Returns
    -------
    rich.console.Group
        For `rich.console.Console.print`.
    """
    return Group(_facts(planned), "", _counts(planned), "", _prices(planned), "", _notes(planned))


def _facts(planned: Plan) -> Table:
    facts = Table.grid(padding=(0, 2))
    rows = {
        "Input": planned.input,
        "Output": planned.output,
        "Features": planned.fingerprint,
        "Labels": f"{len(planned.labels):,} ({_largest_counts(planned.labels)})",
        "Work": f"about {planned.workload.core_hours:,.3g} core hours, at {planned.photographs_per_s_per_core:,.1f} "
        f"photographs/s a core ({planned.rate_source})",
        "CPU": planned.cpu,
        "Time": f"about {estimated_seconds_text(planned.seconds)} on {planned.nodes:,} x {planned.node_cores} cores",
    }
    for name, value in rows.items():
        facts.add_row(name, Text(one_line(value)))
    for warning in planned.warnings:
        facts.add_row("Warning", Text(one_line(warning)))
    return facts


def _counts(planned: Plan) -> Table:
    counts = Table.grid(padding=(0, 2))
    counts.add_column(justify="right")
    rows = [
        (planned.listed, f"photographs listed ({bytes_text(planned.bytes)})"),
        (planned.known, "known: their features are in the store"),
        (planned.rejected, "rejected before, not read again"),
        (planned.new, f"new, to compute ({bytes_text(planned.new_bytes)})"),
        (planned.gone, "gone: in the store, no longer in the input"),
    ]
    if planned.ignored:
        rows.append((sum(planned.ignored.values()), f"other files, ignored ({_largest_counts(planned.ignored)})"))
    for count, what in rows:
        counts.add_row(f"{count:,}", Text(one_line(what)))
    return counts


def _prices(planned: Plan) -> Table:
    """The bill, one line for each item."""
    lines = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    lines.add_column(f"In {prices.region_name(planned.cost.region)}")
    lines.add_column("amount", justify="right")
    lines.add_column("")
    lines.add_column("price")
    lines.add_column("EUR", justify="right")
    for item in planned.cost.items:
        lines.add_row(item.what, _amount(item), item.unit, str(item.price or "unknown"), eur_column(item.eur))
    if planned.cost.eur is not None:
        total = "Sum of what is known" if planned.cost.unknown else "Sum"
        lines.add_row(total, "", "", "", eur_column(planned.cost.eur), style="bold")
    if planned.cost.eur_per_1000 is not None:
        lines.add_row("A thousand photographs", "", "", "", eur_column(planned.cost.eur_per_1000))
    return lines


def _notes(planned: Plan) -> Table:
    """Unknown prices, sources of the known ones, how things were counted, what was assumed, and the cheapest region."""
    priced = planned.cost
    by_source: dict[str, list[str]] = {}
    for item in priced.items:
        if item.price:
            by_source.setdefault(item.price.stated, []).append(item.what)
    notes = {
        "Unknown": ["; ".join(priced.unknown)] if priced.unknown else [],
        "Prices": [f"{'; '.join(items)}: {source}" for source, items in by_source.items()]
        + [f"EUR 1 = {priced.usd_per_eur}: {priced.usd_per_eur.stated}"],
        "Counted": [f"{item.what}: {item.how}" for item in priced.items]
        + [f"{planned.components:,} components, {planned.components_source}"],
        "Assumed": priced.assumptions,
        "Cheapest": [_cheaper(priced)],
    }
    lines = Table.grid(padding=(0, 1))
    for heading, sentences in notes.items():
        for number, sentence in enumerate(sentences):
            lines.add_row("" if number else heading, "-", Text(sentence))
    return lines


def _cheaper(priced: Bill) -> str:
    region, saving = priced.cheapest["region"], priced.cheapest["saving"]
    name = f"{prices.region_name(region)}, of the EU regions whose node price is known"
    if saving is None or region == priced.region:
        return name
    return f"{name}: EUR {eur_column(priced.cheapest['eur'])} for the nodes, {saving:.0%} less"


def _amount(item: Item) -> str:
    return f"{item.units:,.0f}" if item.unit == "requests" else f"{item.units:,.3g}"


def _largest_counts(counts: dict[str, int], at_most: int = 8) -> str:
    """The largest counts by name, as in "Apple: 3, Pear: 2, and 5 more"."""
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{name or '(none)'}: {count:,}" for name, count in largest[:at_most]]
    shown += [f"and {len(largest) - at_most} more"] if len(largest) > at_most else []
    return ", ".join(shown)
