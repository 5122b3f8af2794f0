import pytest

from verger.planning.cost import cost


def test_core_seconds_become_eur():
    figures = cost(core_seconds=7200, photographs=4000, eur_per_vcpu_hour=0.05)
    assert figures["eur"] == pytest.approx(0.1)
    assert figures["eur_per_1000"] == pytest.approx(0.025)


def test_the_published_run_comes_out_at_its_price():
    # 67,692 photographs in 83 minutes on 24 vCPU, EUR 0.024 a thousand.
    assert cost(83 * 60 * 24, 67_692, 0.0482)["eur_per_1000"] == pytest.approx(0.024, abs=0.0005)


def test_no_photograph_has_no_price_a_thousand():
    assert cost(10, 0, 0.05)["eur_per_1000"] is None


def test_the_price_is_said_to_be_an_assumption():
    first, *_ = cost(1, 1, 0.0482)["assumptions"]
    assert "EUR 0.0482 an hour, an assumption" in first
    assert "--eur-per-vcpu-hour" in first
