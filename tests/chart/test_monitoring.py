"""What Prometheus and Grafana are told: where the driver's metrics are, and queries of gauges that the run serves."""

import json
import re

import pytest

from tests.chart.conftest import CHART, merge_values
from verger.spark import metrics

pytestmark = pytest.mark.required_in_ci

MONITORED = {
    "metrics": {
        "enabled": True,
        "namespaceLabels": {"kubernetes.io/metadata.name": "monitoring"},
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    }
}
SERVED = {f"metrics_verger_driver_AccumulatorSource_{name}_Value" for name in metrics.NAMES}


def gauges(query):
    return set(re.findall(r"metrics_verger\w+", query))


def rules(objects):
    (group,) = objects.one("PrometheusRule")["spec"]["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def test_nothing_is_made_for_prometheus_unless_asked(helm3):
    assert not [item for item in helm3.render() if item["apiVersion"].startswith("monitoring.coreos.com")]


def test_a_pod_monitor_selects_the_driver_alone(helm3):
    objects = helm3.render(MONITORED)
    monitor = objects.one("PodMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"]
    assert objects.metadata("driver")["labels"].items() >= wanted.items()
    assert not [role for role in ("executor", "doctor") if objects.metadata(role)["labels"].items() >= wanted.items()]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["path"] == objects.metadata("driver")["annotations"]["prometheus.io/path"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


@pytest.mark.parametrize("cron", ["", "@daily"])
def test_alerts_ask_for_gauges_of_this_release(helm3, cron):
    found = rules(helm3.render(merge_values(MONITORED, {"schedule": {"cron": cron}})))
    assert found.keys() == {"VergerStandsStill", "VergerRejectsTooMuch", "VergerFailed"}
    for name in ("VergerStandsStill", "VergerRejectsTooMuch"):
        query = found[name]["expr"]
        assert gauges(query)
        assert gauges(query) <= SERVED
        selectors = re.findall(r"_Value(\{.*?\})", query)
        assert set(selectors) == {'{namespace="verger",app_kubernetes_io_instance="orchard"}'}
    named = re.search(r'pod=~"(.*?)"', found["VergerFailed"]["expr"])
    assert re.fullmatch(named[1], "orchard-1764450000000000000-driver" if cron else "orchard-driver")
    assert not re.fullmatch(named[1], "orchard-2-driver-x")


def test_the_alert_of_rejections_has_the_runs_ratio(helm3):
    assert "> 0.1 " in rules(helm3.render(MONITORED))["VergerRejectsTooMuch"]["expr"]
    stricter = helm3.render(merge_values(MONITORED, {"run": {"max_rejected_ratio": 0.02}}))
    assert "> 0.02 " in rules(stricter)["VergerRejectsTooMuch"]["expr"]


def test_the_dashboard_asks_for_gauges_that_the_run_serves():
    dashboard = json.loads((CHART / "files" / "dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = [gauges(query) for query in queries]
    assert all(asked)
    assert set().union(*asked) <= SERVED
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert set(re.findall(r"\$\{?([a-z]+)", " ".join(queries))) <= variables
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
