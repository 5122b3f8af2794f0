"""What a run costs, in EUR: items of known price, items of unknown price, and what is assumed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from verger.config import PricingSettings
from verger.planning import prices
from verger.planning.prices import Price
from verger.planning.workload import Workload


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a bill.

    Attributes
    ----------
    what : str
        What is paid for.
    units : float
        How many of ``unit``.
    unit : str
        Such as ``requests``.
    price : Price or None
        None where it is unknown.
    eur : float or None
        EUR for all units; None where the price is unknown.
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
    eur : float or None
        EUR, sum of the items whose price is known; None where no price is known.
    eur_per_1000 : float or None
        The same for a thousand new photographs.
    region : str
        Code of the region whose prices are taken.
    items : list of Item
        All lines of the bill.
    unknown : list of str
        Names of the items whose price is unknown.
    cheapest : dict
        ``region`` in the EU with the lowest known node price, ``eur`` that the nodes would cost there, and
        ``saving``, the share of the price that this saves. Both are None where the planned region's price is not a
        published one.
    usd_per_eur : Price
        Exchange rate.
    assumptions : list of str
        A sentence each.
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
        """The bill as JSON has it.

        Returns
        -------
        dict
            The attributes by name, with dicts for items and prices.
        """
        return asdict(self)


def cost(core_seconds: float, photographs: int, config: PricingSettings, region: str | None = None) -> dict[str, Any]:
    """What the cores of a finished run cost.

    Parameters
    ----------
    core_seconds : float
        Wall time in seconds times cores, idle ones included: rented cores are paid for either way.
    photographs : int
        Photographs whose features were computed.
    config : PricingSettings
        Gives region, own prices, discount and exchange rate.
    region : str, optional
        Where the run took place, used where the settings name no region.

    Returns
    -------
    dict
        ``eur``, None where the region's price is unknown; ``eur_per_1000`` photographs, None where there were none;
        ``assumptions``, a list of sentences.
    """
    place, assumed = _region(config, region)
    nodes = _nodes(core_seconds / 3600, "", config, place)
    return {
        "eur": _rounded(nodes.eur),
        "eur_per_1000": _per_1000(nodes.eur, photographs),
        "assumptions": [
            *assumed,
            *_node_assumptions(nodes, place),
            *_price_sources(nodes, config),
            "all cores are paid for from start to end; storage, requests, traffic and control plane are not included",
        ],
    }


def bill(
    work: Workload, photographs: int, config: PricingSettings, region: str | None = None, aws: bool = True
) -> Bill:
    """What a planned run would cost.

    Parameters
    ----------
    work : Workload
        What the run takes.
    photographs : int
        New photographs.
    config : PricingSettings
        Gives region, own prices, discount and exchange rate.
    region : str, optional
        Where the run would take place, used where the settings name no region.
    aws : bool
        Whether the store is AWS's; what other stores charge is unknown.

    Returns
    -------
    Bill
        In EUR.
    """
    place, assumed = _region(config, region)
    how = f"{work.nodes:,} x {work.node_cores} vCPU for {work.hours:.3g} h"
    nodes = _nodes(work.vcpu_hours, how, config, place)
    items = [
        nodes,
        _control_plane(work, config, place),
        *_storage(work, config, prices.S3_PRICES.get(place) if aws else None),
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
        usd_per_eur=_exchange_rate(config),
        assumptions=[
            *assumed,
            *_node_assumptions(nodes, place),
            *([] if aws else ["the store is not AWS's: what it charges is unknown, and nodes are priced as AWS's"]),
            "nodes and control plane are priced for the time in which features are computed: their start, the fit of "
            "the components and the projection come on top",
            "bytes are counted before compression, and stored for one month",
            "traffic, disks, taxes, free tiers and the storage of the photographs are not included",
        ],
    )


def _region(config: PricingSettings, region: str | None) -> tuple[str, list[str]]:
    """The region to price, and what was assumed about it."""
    if place := config.region or region:
        return place, []
    return prices.PARIS, [f"no region is known: AWS in {prices.region_name(prices.PARIS)} is assumed"]


def _exchange_rate(config: PricingSettings) -> Price:
    """USD for one EUR, as set or as published."""
    if config.usd_per_eur is None:
        return prices.USD_PER_EUR
    return replace(prices.USD_PER_EUR, amount=config.usd_per_eur, source="--usd-per-eur", date=None)


def _item(config: PricingSettings, what: str, units: float, unit: str, price: Price | None, how: str) -> Item:
    eur = None if price is None else price.eur(units, _exchange_rate(config).amount)
    return Item(what, units, unit, price, eur, how)


def _nodes(vcpu_hours: float, how: str, config: PricingSettings, place: str) -> Item:
    """The nodes: at the price that was set, else each vCPU as a share of a node whose price is published."""
    if config.eur_per_vcpu_hour is not None:
        own = Price(config.eur_per_vcpu_hour, "--eur-per-vcpu-hour", None, currency="EUR")
        return _item(config, "Nodes", vcpu_hours, "vCPU hours", own, how)
    price = prices.NODE_HOUR.get(place)
    if price and config.spot_discount:
        price = replace(price, discount=config.spot_discount)
    return _item(config, "Nodes", vcpu_hours / prices.NODE_VCPU, f"{prices.NODE_TYPE} hours", price, how)


def _control_plane(work: Workload, config: PricingSettings, place: str) -> Item:
    price = prices.CONTROL_PLANE_HOUR if place in prices.NODE_HOUR else None
    return _item(config, "Control plane", work.hours, "cluster hours", price, "one cluster, as long as its nodes")


def _storage(work: Workload, config: PricingSettings, s3: prices.S3Prices | None) -> list[Item]:
    """Requests, and storage of what the run adds for a month."""
    write, read, month = (s3.write, s3.read, s3.month) if s3 else (None, None, None)
    written = f"{work.files:,} files of features, one request each below 16 MiB; projection, manifest, pointers"
    features, projection = work.feature_bytes / 2**30, work.projection_bytes / 2**30
    rows: list[tuple[str, float, str, Price | None, str]] = [
        ("LIST", work.lists, "requests", write, "one for 1,000 keys of the input; the folders read and written"),
        ("PUT and POST", work.puts, "requests", write, written),
        ("GET and HEAD", work.gets, "requests", read, "one for each new photograph; the files read and written"),
        ("Features for a month", features, "GiB months", month, "new rows, 4 bytes a feature and 200 a row"),
        ("Projection for a month", projection, "GiB months", month, "all rows, 4 bytes a component and 200 a row"),
    ]
    return [_item(config, *row) for row in rows]


def _node_assumptions(nodes: Item, place: str) -> list[str]:
    """How the price of the nodes was found."""
    if nodes.price is None:
        return [f"what a node costs in {prices.region_name(place)} is unknown: set --eur-per-vcpu-hour"]
    if nodes.price.currency == "EUR":
        return [f"a vCPU hour costs EUR {nodes.price.amount:g}, as --eur-per-vcpu-hour says"]
    less = nodes.price.discount
    spot = f"spot nodes cost {less:.0%} less" if less else "no spot nodes (see --spot-discount)"
    return [f"a vCPU costs a quarter of an {prices.NODE_TYPE} on demand in {prices.region_name(place)}", spot]


def _price_sources(nodes: Item, config: PricingSettings) -> list[str]:
    """Sources of a published node price, and of the exchange rate."""
    if nodes.price is None or nodes.price.currency == "EUR":
        return []
    euro = _exchange_rate(config)
    return [f"an {prices.NODE_TYPE} hour: {nodes.price} ({nodes.price.stated})", f"EUR 1: {euro} ({euro.stated})"]


def _cheapest(nodes: Item, config: PricingSettings) -> dict[str, Any]:
    """The cheapest region in the EU, and what it would save compared with a published price."""
    region = prices.cheapest_region()
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
