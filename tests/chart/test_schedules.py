"""Schedules and time zones that the operator reads are accepted; test_refusals.py has those that are refused."""

import json
import re
import zoneinfo

import pytest

from tests.chart.conftest import CHART

pytestmark = pytest.mark.required_in_ci


@pytest.mark.parametrize("cron", [
    "@hourly", "@every 1h", "@every 1h30m", "@every 1.5h", "0-59/5 * * * *", "05 08 31 12 6", "0 0 ? JAN-mar,12 SUN",
    "*/15 9-17 * * 1-5", "0 3/6 * * *", "*/05 0-23/008 * * *",
])  # fmt: skip
def test_what_the_operator_reads_as_a_schedule_is_accepted(helm3, cron):
    schedule = helm3.render({"schedule": {"cron": cron}}).one("ScheduledSparkApplication")["spec"]["schedule"]
    assert schedule == cron


@pytest.mark.parametrize("zone", [
    "UTC", "GMT", "CET", "Europe/Paris", "Etc/GMT-1", "America/Argentina/Buenos_Aires", "America/Port-au-Prince",
    "Atlantic/Canary", "Indian/Reunion", "Portugal", "GB", "GMT+0", "US/Eastern", "EST",
    "EST5EDT", "America/Indiana/Knox",
])  # fmt: skip
def test_zones_of_the_database_are_accepted(helm3, zone):
    zoneinfo.ZoneInfo(zone)
    helm3.render({"schedule": {"cron": "@daily", "timeZone": zone}})


def test_the_operators_own_zone_is_accepted(helm3):
    helm3.render({"schedule": {"cron": "@daily", "timeZone": "Local"}})


def test_every_zone_of_the_database_is_accepted():
    schema = json.loads((CHART / "values.schema.json").read_text())
    pattern = schema["properties"]["schedule"]["properties"]["timeZone"]["pattern"]
    zones = zoneinfo.available_timezones() - {"localtime"}  # a link that some systems have beside the zones
    assert zones
    assert not [zone for zone in zones if not re.search(pattern, zone)]
