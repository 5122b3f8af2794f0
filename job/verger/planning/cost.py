"""What a run costs, in EUR: the parts whose price is known, the parts whose price is not, and what is assumed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from verger.config import RunConfig
from verger.planning import prices
from verger.planning.prices import Price
from verger.planning.workload import Workload


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a bill.

    Attributes
    ----------
    what : str
    units : float
        How many of ``unit``.
    price : Price, optional
        None where it is unknown.
    eur : float, optional
        None where the price is unknown.
    how : str
        How the units were counted.
    """

    what: str
    units: float
    unit: str
    price: Price | None
    eur: float | None
    how: str


@dataclass(frozen=True, slots=True)
class Bill:
    """What a run would cost.

    Attributes
    ----------
    eur : float, optional
        Sum of the known parts; None where none is known.
    eur_per_1000 : float, optional
        The same for a thousand new photographs.
    region : str
        The one that is priced.
    items : list of Item
    unknown : list of str
        Items whose price is unknown.
    cheapest : dict
        ``region`` in the EU with the lowest known node price, ``eur`` that the nodes would cost there, and
        ``saving``, its share; both None where the planned region's price is not a published one.
    usd_per_eur : Price
    assumptions : list of str
    """

    eur: float | None
    eur_per_1000: float | None
    region: str
    items: list[Item]
    unknown: list[str]
    cheapest: dict[str, Any]
    usd_per_eur: Price
    assumptions: list[str]

    def as_dict(self) -> dict[str, Any]:
        """The bill as JSON takes it."""
        return asdict(self)


def cost(core_seconds: float, photographs: int, config: RunConfig, region: str | None = None) -> dict[str, Any]:
    """Price the cores of a run for as long as it lasted.

    Parameters
    ----------
    core_seconds : float
        Wall seconds times cores, idle ones included: rented cores are paid for either way.
    photographs : int
        Photographs that this paid for.
    config : RunConfig
    region : str, optional
        Where the run was, where the settings do not say.

    Returns
    -------
    dict
        ``eur``, None where the region's price is unknown; ``eur_per_1000`` photographs, None where there were none;
        ``assumptions``, a list of sentences.
    """
    place, assumed = _place(config, region)
    nodes = _nodes(core_seconds / 3600, "", config, place)
    return {
        "eur": _rounded(nodes.eur),
        "eur_per_1000": _per_1000(nodes.eur, photographs),
        "assumptions": [
            *assumed,
            *_priced(nodes, place),
            *_sources(nodes, config),
            "all cores are paid for from start to end; storage, requests, traffic and control plane are not included",
        ],
    }


def bill(work: Workload, photographs: int, config: RunConfig, region: str | None = None, aws: bool = True) -> Bill:
    """Price what a run would take.

    Parameters
    ----------
    work : Workload
    photographs : int
        New ones.
    config : RunConfig
    region : str, optional
        Where the run would be, where the settings do not say.
    aws : bool
        Whether the store is AWS's: what others charge is unknown.
    """
    place, assumed = _place(config, region)
    span = f"{work.nodes:,} x {work.node_cores} vCPU for {work.hours:.3g} h"
    nodes = _nodes(work.vcpu_hours, span, config, place)
    items = [
        nodes,
        _control_plane(work, config, place),
        *_storage(work, config, prices.STORE.get(place) if aws else None),
    ]
    known = [item.eur for item in items if item.eur is not None]
    total = sum(known) if known else None
    return Bill(
        eur=_rounded(total),
        eur_per_1000=_per_1000(total, photographs),
        region=place,
        items=items,
        unknown=[item.what for item in items if item.eur is None],
        cheapest=_cheapest(nodes, config),
        usd_per_eur=_euro(config),
        assumptions=[
            *assumed,
            *_priced(nodes, place),
            *([] if aws else ["the store is not AWS's: what it charges is unknown, and nodes are priced as AWS's"]),
            "nodes and control plane are paid for while features are computed: their start, the fit of the components "
            "and the projection come on top",
            "bytes are counted before compression, and kept for one month",
            "traffic, disks, taxes, free tiers and the keeping of the photographs are not included",
        ],
    )


def _place(config: RunConfig, region: str | None) -> tuple[str, list[str]]:
    """The region to price, and what was assumed about it."""
    if place := config.region or region:
        return place, []
    return prices.PARIS, [f"no region is known: AWS in {prices.named(prices.PARIS)} is assumed"]


def _euro(config: RunConfig) -> Price:
    """Dollars for a euro."""
    if config.usd_per_eur is None:
        return prices.EURO
    return replace(prices.EURO, amount=config.usd_per_eur, source="--usd-per-eur", date=None)


def _item(config: RunConfig, what: str, units: float, unit: str, price: Price | None, how: str) -> Item:
    eur = None if price is None else price.eur(units, _euro(config).amount)
    return Item(what, units, unit, price, eur, how)


def _nodes(vcpu_hours: float, how: str, config: RunConfig, place: str) -> Item:
    """The nodes, at the price that was given, else as shares of the node whose price is known."""
    if config.eur_per_vcpu_hour is not None:
        own = Price(config.eur_per_vcpu_hour, "--eur-per-vcpu-hour", None, currency="EUR")
        return _item(config, "Nodes", vcpu_hours, "vCPU hours", own, how)
    price = prices.NODE_HOUR.get(place)
    if price and config.spot_discount:
        price = replace(price, discount=config.spot_discount)
    return _item(config, "Nodes", vcpu_hours / prices.NODE_VCPU, f"{prices.NODE} hours", price, how)


def _control_plane(work: Workload, config: RunConfig, place: str) -> Item:
    price = prices.CONTROL_PLANE_HOUR if place in prices.NODE_HOUR else None
    return _item(config, "Control plane", work.hours, "cluster hours", price, "one cluster, as long as its nodes")


def _storage(work: Workload, config: RunConfig, s3: prices.S3 | None) -> list[Item]:
    """Requests, and a month of what the run adds."""
    write, read, month = (s3.write, s3.read, s3.month) if s3 else (None, None, None)
    written = f"{work.files:,} files of features as the magic committer writes them; projection, manifest, pointers"
    features, projection = work.feature_bytes / 2**30, work.projection_bytes / 2**30
    rows: list[tuple[str, float, str, Price | None, str]] = [
        ("LIST", work.lists, "requests", write, "1,000 keys of the input a page; the folders read and written"),
        ("PUT and POST", work.puts, "requests", write, written),
        ("GET and HEAD", work.gets, "requests", read, "a new photograph each; the files read and written"),
        ("Features for a month", features, "GiB months", month, "new rows, 4 bytes a feature and 200 a row"),
        ("Projection for a month", projection, "GiB months", month, "all rows, 4 bytes a component and 200 a row"),
    ]
    return [_item(config, *row) for row in rows]


def _priced(nodes: Item, place: str) -> list[str]:
    """How the price of the nodes came about."""
    if nodes.price is None:
        return [f"what a node costs in {prices.named(place)} is unknown: set --eur-per-vcpu-hour"]
    if nodes.price.currency == "EUR":
        return [f"a vCPU hour costs EUR {nodes.price.amount:g}, as --eur-per-vcpu-hour says"]
    less = nodes.price.discount
    spot = f"spot nodes cost {less:.0%} less" if less else "no spot nodes (see --spot-discount)"
    return [f"a vCPU costs a quarter of an {prices.NODE} on demand in {prices.named(place)}", spot]


def _sources(nodes: Item, config: RunConfig) -> list[str]:
    """Where a published price of the nodes, and the rate at which it became EUR, come from."""
    if nodes.price is None or nodes.price.currency == "EUR":
        return []
    euro = _euro(config)
    return [f"an {prices.NODE} hour: {nodes.price} ({nodes.price.stated})", f"EUR 1: {euro} ({euro.stated})"]


def _cheapest(nodes: Item, config: RunConfig) -> dict[str, Any]:
    """The cheapest region in the EU, and what it would save against a published price."""
    region = prices.cheapest()
    if nodes.price is None or nodes.price.currency == "EUR":
        return {"region": region, "eur": None, "saving": None}
    there = _nodes(nodes.units * prices.NODE_VCPU, nodes.how, config, region)
    assert there.price
    return {
        "region": region,
        "eur": _rounded(there.eur),
        "saving": round(1 - there.price.amount / nodes.price.amount, 4),
    }


def _rounded(eur: float | None) -> float | None:
    return None if eur is None else round(eur, 6)


def _per_1000(eur: float | None, photographs: int) -> float | None:
    return None if eur is None or not photographs else round(1000 * eur / photographs, 6)
