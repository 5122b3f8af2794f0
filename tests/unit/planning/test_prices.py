import re

import pytest

from tests.conftest import ROOT
from verger.planning import prices
from verger.planning.prices import Price


def published() -> list[Price]:
    stores = [price for s3 in prices.S3_PRICES.values() for price in (s3.write, s3.read, s3.month)]
    return [*prices.NODE_HOUR.values(), *stores, prices.CONTROL_PLANE_HOUR, prices.USD_PER_EUR]


def test_every_price_has_a_source_and_a_date():
    for price in published():
        assert price.amount > 0
        assert price.source
        assert re.fullmatch(r"20\d\d-\d\d(-\d\d)?", price.date or "")


def test_the_page_on_costs_has_these_prices():
    page = (ROOT / "docs" / "cost.md").read_text()
    of_regions = re.findall(r"^\| ([a-z]+-[a-z]+-\d) \(\w+[^|]*\) \| ([\d.]+) \| ([\d.]+) \|$", page, re.MULTILINE)
    rate = prices.USD_PER_EUR.amount
    assert dict((region, (usd, eur)) for region, usd, eur in of_regions) == {
        region: (f"{price.amount:.3f}", f"{price.amount / rate / prices.NODE_VCPU:.4f}")
        for region, price in prices.NODE_HOUR.items()
    }
    s3 = prices.S3_PRICES[prices.PARIS]
    for price in (s3.write, s3.read, s3.month, prices.CONTROL_PLANE_HOUR):
        assert re.search(
            rf"^\| [^|]+ \| {str(price).replace(' / ', ' a ')} ?[^|]*\| [^|]+ \| [^|]+ \|$", page, re.MULTILINE
        )
    assert f"| EUR 1 | USD {rate:.4f} |" in page


def test_the_cheapest_region_is_in_the_eu_even_where_london_is_cheaper(monkeypatch):
    assert prices.cheapest_region() == "eu-north-1"
    monkeypatch.setitem(prices.NODE_HOUR, "eu-west-2", Price(0.1, "a test", "2023-12"))
    assert prices.cheapest_region() == "eu-north-1"


def test_usd_are_converted_and_eur_are_not():
    assert Price(0.0042, "a test", None, per=10_000).eur(50_000, 1.05) == pytest.approx(0.02)
    assert Price(0.05, "a test", None, currency="EUR").eur(3, 1.05) == pytest.approx(0.15)
    assert Price(0.21, "a test", None, discount=0.6).eur(1, 1.05) == pytest.approx(0.08)


def test_a_price_as_text():
    assert str(prices.CONTROL_PLANE_HOUR) == "USD 0.10"
    assert str(Price(0.0053, "a test", None, per=1000)) == "USD 0.0053 / 1,000"
    assert str(Price(0.224, "a test", None, discount=0.6)) == "USD 0.224 less 60%"
    assert prices.USD_PER_EUR.stated.endswith("reference rate, 2023-12-29")
    assert prices.region_name("eu-west-3") == "eu-west-3 (Paris)"
    assert prices.region_name("fr-par") == "fr-par"
