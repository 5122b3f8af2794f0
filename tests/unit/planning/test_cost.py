import pytest

from verger.config import RunConfig
from verger.planning.cost import Bill, bill, cost
from verger.planning.workload import Workload

# Two nodes of m5.xlarge for an hour and a half.
WORK = Workload(
    core_hours=11.0,
    hours=1.5,
    nodes=2,
    node_cores=4,
    waves=3,
    files=60,
    lists=2_000,
    puts=1_000,
    gets=100_000,
    feature_bytes=2 << 30,
    projection_bytes=1 << 29,
)


def config(**settings: object) -> RunConfig:
    return RunConfig(input="/in", output="/out", **settings)


def eur(priced: Bill) -> dict[str, float | None]:
    return {item.what: item.eur for item in priced.items}


class TestCost:
    def test_core_seconds_are_converted_to_eur(self):
        costs = cost(7200, 4000, config(eur_per_vcpu_hour=0.05))
        assert costs["eur"] == pytest.approx(0.1)
        assert costs["eur_per_1000"] == pytest.approx(0.025)
        assert "a vCPU hour costs EUR 0.05, as --eur-per-vcpu-hour says" in costs["assumptions"]

    def test_without_an_own_price_that_of_the_region_is_taken(self):
        costs = cost(4 * 3600, 1000, config(region="eu-north-1"))
        assert costs["eur"] == pytest.approx(0.204 / 1.105, abs=1e-6)
        said = " ".join(costs["assumptions"])
        assert "eu-north-1 (Stockholm)" in said
        assert "2023-12" in said
        assert "2023-12-29" in said

    def test_the_region_of_the_settings_takes_precedence_over_the_buckets(self):
        assert cost(3600, 1, config(region="eu-west-1"), "eu-west-3") == cost(3600, 1, config(), "eu-west-1")

    def test_paris_is_assumed_where_no_region_is_known(self):
        costs = cost(4 * 3600, 1000, config())
        assert costs["eur"] == pytest.approx(0.224 / 1.105, abs=1e-6)
        assert costs["assumptions"][0] == "no region is known: AWS in eu-west-3 (Paris) is assumed"

    @pytest.mark.parametrize("region", ["eu-south-1", "fr-par"])
    def test_an_unknown_price_is_not_guessed(self, region):
        costs = cost(3600, 1000, config(), region)
        assert (costs["eur"], costs["eur_per_1000"]) == (None, None)
        assert "unknown: set --eur-per-vcpu-hour" in costs["assumptions"][0]

    def test_an_own_price_needs_no_known_region(self):
        assert cost(3600, 1000, config(eur_per_vcpu_hour=0.05), "fr-par")["eur"] == pytest.approx(0.05)

    def test_without_photographs_there_is_no_price_per_thousand(self):
        assert cost(10, 0, config())["eur_per_1000"] is None

    def test_the_exchange_rate_can_be_set(self):
        costs = cost(4 * 3600, 1000, config(usd_per_eur=1.0))
        assert costs["eur"] == pytest.approx(0.224)
        assert "EUR 1: USD 1.00 (--usd-per-eur)" in costs["assumptions"]

    def test_the_spot_discount_is_an_assumption_and_does_not_change_an_own_price(self):
        costs = cost(4 * 3600, 1000, config(spot_discount=0.5))
        assert costs["eur"] == pytest.approx(0.112 / 1.105, abs=1e-6)
        assert "spot nodes cost 50% less" in costs["assumptions"]
        own = cost(3600, 1000, config(spot_discount=0.5, eur_per_vcpu_hour=0.05))
        assert own["eur"] == pytest.approx(0.05)


class TestBill:
    def test_in_paris_every_price_is_known(self):
        priced = bill(WORK, 50_000, config(region="eu-west-3", usd_per_eur=1.0))
        assert eur(priced) == pytest.approx(
            {
                "Nodes": 2 * 1.5 * 0.224,
                "Control plane": 1.5 * 0.10,
                "LIST": 2 * 0.0053,
                "PUT and POST": 0.0053,
                "GET and HEAD": 10 * 0.0042,
                "Features for a month": 2 * 0.024,
                "Projection for a month": 0.5 * 0.024,
            }
        )
        assert priced.unknown == []
        assert priced.eur == pytest.approx(sum(item.eur or 0 for item in priced.items), abs=1e-6)
        assert priced.eur_per_1000 == pytest.approx((priced.eur or 0) / 50)

    def test_elsewhere_the_sum_is_of_the_known_prices(self):
        priced = bill(WORK, 50_000, config(region="eu-central-1", usd_per_eur=1.0))
        assert priced.unknown == [
            "LIST",
            "PUT and POST",
            "GET and HEAD",
            "Features for a month",
            "Projection for a month",
        ]
        assert priced.eur == pytest.approx(3 * 0.230 + 0.15)

    def test_without_any_known_price_there_is_no_sum(self):
        priced = bill(WORK, 50_000, config(region="fr-par"))
        assert (priced.eur, priced.eur_per_1000, len(priced.unknown)) == (None, None, 7)
        assert priced.cheapest == {"region": "eu-north-1", "eur": None, "saving": None}

    def test_prices_of_a_store_other_than_aws_are_unknown(self):
        priced = bill(WORK, 50_000, config(region="eu-west-3"), aws=False)
        assert eur(priced)["LIST"] is None
        assert eur(priced)["Nodes"] is not None
        assert any("not AWS's" in assumption for assumption in priced.assumptions)

    def test_other_nodes_are_priced_by_their_number_of_vcpus(self):
        eight = Workload(**{name: getattr(WORK, name) for name in WORK.__slots__} | {"nodes": 1, "node_cores": 8})
        assert eur(bill(eight, 1, config())) == eur(bill(WORK, 1, config()))

    @pytest.mark.parametrize("discount", [0.0, 0.6])
    def test_the_cheapest_region_and_its_saving(self, discount):
        priced = bill(WORK, 50_000, config(region="eu-west-3", spot_discount=discount))
        assert priced.cheapest["region"] == "eu-north-1"
        assert priced.cheapest["saving"] == pytest.approx(1 - 0.204 / 0.224, abs=1e-4)
        assert priced.cheapest["eur"] == pytest.approx(3 * 0.204 * (1 - discount) / 1.105, abs=1e-6)
