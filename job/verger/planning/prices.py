"""Prices that somebody published, each with its source and date. What is not here is unknown, never guessed.

`docs/cost.md` says how each was found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from verger.residency.regions import EU


@dataclass(frozen=True, slots=True)
class Price:
    """What something costs, and who says so.

    Attributes
    ----------
    amount : float
        Of ``currency``, for ``per`` of what is paid for.
    source, date : str
        Who stated it, and the day or month of which it holds (ISO 8601).
    discount : float
        Share by which less is assumed to be paid.
    """

    amount: float
    source: str
    date: str | None
    per: int = 1
    currency: Literal["USD", "EUR"] = "USD"
    discount: float = 0.0

    def eur(self, units: float, usd_per_eur: float) -> float:
        """The price of so many units in EUR."""
        price = units / self.per * self.amount * (1 - self.discount)
        return price / usd_per_eur if self.currency == "USD" else price

    def __str__(self) -> str:
        amount = f"{self.amount:.2f}" if self.amount == round(self.amount, 2) else f"{self.amount:g}"
        per = f" / {self.per:,}" if self.per > 1 else ""
        less = f" less {self.discount:.0%}" if self.discount else ""
        return f"{self.currency} {amount}{per}{less}"

    @property
    def stated(self) -> str:
        """Who says so, and when."""
        return f"{self.source}, {self.date}" if self.date else self.source


@dataclass(frozen=True, slots=True)
class S3:
    """What a region's S3 charges for the standard class."""

    write: Price
    read: Price
    month: Price


NODE, NODE_VCPU = "m5.xlarge", 4
PARIS = "eu-west-3"

CITIES = {
    "eu-central-1": "Frankfurt",
    "eu-north-1": "Stockholm",
    "eu-west-1": "Ireland",
    "eu-west-2": "London",
    "eu-west-3": "Paris",
}

_PROJECT = ("a student project's table of AWS on-demand prices", "2023-12")
_S3_PARIS = ("AWS's price list of S3 in eu-west-3", "2026-09-28")

NODE_HOUR = {
    region: Price(usd, *_PROJECT)
    for region, usd in {
        "eu-central-1": 0.230,
        "eu-north-1": 0.204,
        "eu-west-1": 0.214,
        "eu-west-2": 0.222,
        "eu-west-3": 0.224,
    }.items()
}

# Of others than Paris nobody was found who says the price and the day.
STORE = {
    PARIS: S3(
        write=Price(0.0053, *_S3_PARIS, per=1_000),
        read=Price(0.0042, *_S3_PARIS, per=10_000),
        month=Price(0.024, *_S3_PARIS),
    )
}

# AWS names no region in stating it; it is used for the regions above only.
CONTROL_PLANE_HOUR = Price(0.10, "AWS Containers Blog on EKS prices, Kubernetes in standard support", "2024-04")

EURO = Price(1.1050, "ECB euro foreign exchange reference rate", "2023-12-29")


def named(region: str) -> str:
    """A region with its city, where it is one of the table."""
    return f"{region} ({CITIES[region]})" if region in CITIES else region


def cheapest() -> str:
    """The region in the EU with the lowest known price of a node hour."""
    return min(EU & NODE_HOUR.keys(), key=lambda region: NODE_HOUR[region].amount)
