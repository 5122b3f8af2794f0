"""Published prices, each with its source and date. A price that is not here is unknown; none is guessed.

`docs/cost.md` says how each was found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from verger.residency.regions import EU


@dataclass(frozen=True, slots=True)
class Price:
    """A price, and who published it.

    Attributes
    ----------
    amount : float
        In ``currency``, for ``per`` units.
    source : str
        Who published it, or the option that gave it.
    date : str or None
        Day or month for which it holds (ISO 8601); None where an option gave it.
    per : int
        Units that the amount is for.
    currency : {"USD", "EUR"}
        Of ``amount``.
    discount : float
        Share of the amount, from 0 to 1, that is assumed not to be paid.
    """

    amount: float
    source: str
    date: str | None
    per: int = 1
    currency: Literal["USD", "EUR"] = "USD"
    discount: float = 0.0

    def eur(self, units: float, usd_per_eur: float) -> float:
        """What units cost.

        Parameters
        ----------
        units : float
            Number of units.
        usd_per_eur : float
            Exchange rate.

        Returns
        -------
        float
            EUR, after the discount.
        """
        price = units / self.per * self.amount * (1 - self.discount)
        return price / usd_per_eur if self.currency == "USD" else price

    def __str__(self) -> str:
        amount = f"{self.amount:.2f}" if self.amount == round(self.amount, 2) else f"{self.amount:g}"
        per = f" / {self.per:,}" if self.per > 1 else ""
        less = f" less {self.discount:.0%}" if self.discount else ""
        return f"{self.currency} {amount}{per}{less}"

    @property
    def stated(self) -> str:
        """Source and date as text."""
        return f"{self.source}, {self.date}" if self.date else self.source


@dataclass(frozen=True, slots=True)
class S3Prices:
    """What S3 charges in a region, for the standard storage class.

    Attributes
    ----------
    write : Price
        Of PUT, POST and LIST requests.
    read : Price
        Of GET and HEAD requests.
    month : Price
        Of a GiB that is stored for a month.
    """

    write: Price
    read: Price
    month: Price


NODE_TYPE, NODE_VCPU = "m5.xlarge", 4
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

# USD an hour for one node of NODE_TYPE.
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

# For other regions than Paris no source was found that gives both a price and its date.
S3_PRICES = {
    PARIS: S3Prices(
        write=Price(0.0053, *_S3_PARIS, per=1_000),
        read=Price(0.0042, *_S3_PARIS, per=10_000),
        month=Price(0.024, *_S3_PARIS),
    )
}

# USD an hour. AWS publishes it without naming a region; it is used for the regions above only.
CONTROL_PLANE_HOUR = Price(0.10, "AWS Containers Blog on EKS prices, Kubernetes in standard support", "2024-04")

USD_PER_EUR = Price(1.1050, "ECB euro foreign exchange reference rate", "2023-12-29")


def region_name(region: str) -> str:
    """A region with its city, where the city is known.

    Parameters
    ----------
    region : str
        Code such as ``eu-west-3``.

    Returns
    -------
    str
        Such as ``eu-west-3 (Paris)``.
    """
    return f"{region} ({CITIES[region]})" if region in CITIES else region


def cheapest_region() -> str:
    """The region in the EU with the lowest known price of a node hour.

    Returns
    -------
    str
        Code such as ``eu-north-1``.
    """
    return min(EU & NODE_HOUR.keys(), key=lambda region: NODE_HOUR[region].amount)
