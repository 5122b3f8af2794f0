"""What a run would do, how long it would take and what it would cost; nothing is written."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Group
from rich.table import Table

from verger.access.session import available_cores
from verger.access.storage import apart
from verger.config import RunConfig
from verger.errors import NothingToReadError
from verger.network.backbones import Network, resolve
from verger.photographs import inventory
from verger.planning.cost import cost
from verger.tables import manifest
from verger.tables.store import FeatureStore, gone, matching, without

# Seconds before the first photograph: the session, and TensorFlow's import in each worker.
START_S = 6.0
# A network's own rate is for photographs of 100x100, of about this size; larger ones take longer to decode.
SMALL_BYTES = 6_000
DECODED_BYTES_PER_S = 16e6  # JPEG, one core
# A run of fewer photographs has mostly measured how long its workers took to start.
ENOUGH_TO_MEASURE = 1000


@dataclass(frozen=True)
class Plan:
    """What a run would find and do.

    Attributes
    ----------
    input, output, fingerprint : str
    listed, known, rejected, new, gone : int
        Photographs: chosen; with features in the store; remembered as rejected; to compute; in the store but no
        longer in the input.
    labels : dict of str to int
    ignored : dict of str to int
        Other files, by suffix.
    bytes, new_bytes : int
        Size of the photographs listed, and of those to read.
    nodes, node_cores : int
    photographs_per_s_per_core : float
    rate_source : str
        Where that rate comes from.
    seconds : float
    cost : dict
        As `verger.planning.cost.cost` gives it.
    warnings : list of str
    """

    input: str
    output: str
    fingerprint: str
    listed: int
    known: int
    rejected: int
    new: int
    gone: int
    labels: dict[str, int]
    ignored: dict[str, int]
    bytes: int
    new_bytes: int
    nodes: int
    node_cores: int
    photographs_per_s_per_core: float
    rate_source: str
    seconds: float
    cost: dict[str, Any]
    warnings: list[str]

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON takes it."""
        return asdict(self)


def plan(config: RunConfig, nodes: int = 1, node_cores: int | None = None) -> Plan:
    """Subtract what the store has from what the input has, and estimate the rest.

    Parameters
    ----------
    config : RunConfig
    nodes, node_cores : int
        What to estimate for; default: this machine, or ``config.cores`` of it.

    Raises
    ------
    UsageError
        Input and output contain one another.
    NothingToReadError
        There is no photograph.
    WeightsError
        The weights, which name the store's folder, are not to be had.
    """
    source, output = apart(config.input, config.output)
    found = inventory.take(source)
    chosen = inventory.select(found.photographs, config, source)
    network = resolve(config)
    warnings: list[str] = []
    store = FeatureStore(output, network.fingerprint, warnings.append)
    stored, refused = store.known(), matching(chosen, store.rejected())
    new = without(without(chosen, stored), refused)
    node_cores = node_cores or config.cores or available_cores()
    rate, rate_source = _rate(config, network, _total(chosen) / chosen.num_rows)
    seconds = START_S + new.num_rows / (rate * nodes * node_cores)
    return Plan(
        input=source,
        output=output,
        fingerprint=network.fingerprint,
        listed=chosen.num_rows,
        known=chosen.num_rows - refused.num_rows - new.num_rows,
        rejected=refused.num_rows,
        new=new.num_rows,
        gone=gone(stored, source, found.photographs["path"]),
        labels=inventory.label_counts(chosen),
        ignored=found.ignored,
        bytes=_total(chosen),
        new_bytes=_total(new),
        nodes=nodes,
        node_cores=node_cores,
        photographs_per_s_per_core=round(rate, 2),
        rate_source=rate_source,
        seconds=round(seconds, 1),
        cost=cost(seconds * nodes * node_cores, new.num_rows, config.eur_per_vcpu_hour),
        warnings=warnings,
    )


def _total(photographs: pa.Table) -> int:
    return int(pc.sum(photographs["size"]).as_py() or 0)


def _rate(config: RunConfig, network: Network, mean_bytes: float) -> tuple[float, str]:
    """Photographs a second and core, and where that figure comes from: the output's own measurement if it has one."""
    document: dict[str, Any] | None = None
    with suppress(NothingToReadError):  # a pointer may outlive its run
        latest = manifest.latest(config.output)
        document = manifest.read(latest) if latest else None
    if document is not None:
        measured = document["throughput"].get("photographs_per_s_per_core")
        same = document["features"]["fingerprint"] == network.fingerprint
        if same and measured and document["photographs"]["computed"] >= ENOUGH_TO_MEASURE:
            return float(measured), f"measured by run {document['run_id']}"
    seconds = 1 / network.photographs_per_s_per_core + max(0.0, mean_bytes - SMALL_BYTES) / DECODED_BYTES_PER_S
    return 1 / seconds, "our benchmark's figures; once a large run was measured, its own"


def table(planned: Plan) -> Group:
    """Draw a plan for a terminal."""
    counts = Table.grid(padding=(0, 2))
    counts.add_column(justify="right")
    counts.add_column()
    rows = [
        (planned.listed, f"photographs listed ({planned.bytes / 1e6:,.1f} MB)"),
        (planned.known, "known: their features are in the store"),
        (planned.rejected, "rejected before, not read again"),
        (planned.new, f"new, to compute ({planned.new_bytes / 1e6:,.1f} MB)"),
        (planned.gone, "gone: in the store, no longer in the folder"),
    ]
    if planned.ignored:
        rows.append((sum(planned.ignored.values()), f"other files, ignored ({_listing(planned.ignored)})"))
    for count, what in rows:
        counts.add_row(f"{count:,}", what)
    price, per_1000 = planned.cost, planned.cost["eur_per_1000"]
    facts = Table.grid(padding=(0, 2))
    facts.add_row("Input", planned.input)
    facts.add_row("Output", planned.output)
    facts.add_row("Features", planned.fingerprint)
    facts.add_row("Labels", f"{len(planned.labels):,} ({_listing(planned.labels)})")
    facts.add_row(
        "Time",
        f"about {_duration(planned.seconds)} on {planned.nodes} x {planned.node_cores} cores, at "
        f"{planned.photographs_per_s_per_core:,.1f} photographs/s a core ({planned.rate_source})",
    )
    facts.add_row("Cost", f"about EUR {price['eur']:.4f}" + (f", {per_1000:.4f} a thousand" if per_1000 else ""))
    for assumption in price["assumptions"]:
        facts.add_row("", assumption)
    for warning in planned.warnings:
        facts.add_row("Warning", warning)
    return Group(facts, "", counts)


def _listing(counts: dict[str, int], at_most: int = 8) -> str:
    """The largest counts by name, as in "Apple: 3, Pear: 2, and 5 more"."""
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{name or '(none)'}: {count:,}" for name, count in largest[:at_most]]
    shown += [f"and {len(largest) - at_most} more"] if len(largest) > at_most else []
    return ", ".join(shown)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
