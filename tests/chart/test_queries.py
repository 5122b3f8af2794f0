"""The alerts and the dashboard, evaluated by Prometheus' own promtool on series as a real driver serves them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.chart.conftest import CHART, NAMESPACE, RELEASE, Helm, Object, Objects, merge_values
from tests.chart.prometheus import PATH, Gauges, Labels, Promtool, Value, gauges, read_driver, read_every, target_labels
from tests.chart.test_monitoring import MONITORED

pytestmark = pytest.mark.required_in_ci

ALERTS = ("VergerStandsStill", "VergerRejectsTooMuch", "VergerFailed")

# A run of 1,000 photographs that takes 40 minutes to compute them, and half an hour for what follows.
HEALTHY: dict[str, Value] = {
    "listed": 1200,
    "known": 200,
    "total": 1000,
    "done": lambda minute: min(25 * minute, 1000),
    "computed": lambda minute: min(24 * minute, 960),
    "rejected": lambda minute: min(minute, 40),
    "per_s": lambda minute: 0.4 if minute < 40 else 0,
    "recognised": 0.75,
    "near_duplicates": 3,
    "suspected_mislabels": 2,
}
END = 70
# What each panel shows in the eleventh minute of it.
SHOWN = {
    ("Photographs that must be computed", "A"): 1000,
    ("Share that is finished", "A"): 0.25,
    ("Rejected", "A"): 10,
    ("Seconds that are left", "A"): 1875,
    ("Photographs a second", "A"): 0.4,
    ("Finished and rejected", "A"): 250,
    ("Finished and rejected", "B"): 10,
    ("Named correctly by the classifier", "A"): 0.75,
    ("Near duplicates", "A"): 3,
    ("Suspected mislabels", "A"): 2,
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a real driver answers to Prometheus."""
    return read_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture(scope="module")
def served(page: str) -> Gauges:
    """The gauges of that driver."""
    return gauges(page)


@pytest.fixture
def promtool(tmp_path: Path) -> Promtool:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not on the PATH: `make programs` fetches it")
    return Promtool("promtool", tmp_path)


def groups(objects: Objects) -> list[Object]:
    found: list[Object] = objects.one("PrometheusRule")["spec"]["groups"]
    return found


def series_of_run(served: Gauges, target: Labels, **changed: Value) -> dict[str, Value]:
    """Those of a healthy run but for what is changed."""
    return {served[name].series(target): value for name, value in {**HEALTHY, **changed}.items()}


def pod_phase(pod: str, phase: str, namespace: str = NAMESPACE) -> dict[str, Value]:
    """As kube-state-metrics gives it, whose own labels stay (``honorLabels``)."""
    of_pod = f'namespace="{namespace}", pod="{pod}", uid="0c3e", job="kube-state-metrics", instance="10.0.0.9:8080"'
    phases = ("Pending", "Running", "Succeeded", "Failed", "Unknown")
    return {f'kube_pod_status_phase{{{of_pod}, phase="{each}"}}': float(each == phase) for each in phases}


def fires(objects: Objects, alert: str, minute: int, labels: Labels | None) -> Object:
    """A test that the alert fires then, with these labels and the rule's own; None: that it does not."""
    ((rule,),) = [[rule for rule in group["rules"] if rule["alert"] == alert] for group in groups(objects)]
    firing = {"exp_labels": {**(labels or {}), **rule["labels"]}, "exp_annotations": rule["annotations"]}
    return {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": [] if labels is None else [firing]}


def assert_quiet(promtool: Promtool, objects: Objects, interval: str, series: dict[str, Value]) -> None:
    """No alert fires at any minute."""
    tests = [fires(objects, alert, minute, None) for alert in ALERTS for minute in range(END + 1)]
    promtool.test(groups(objects), read_every(interval, END, series), alert_rule_test=tests)


def test_the_driver_serves_what_it_should_where_prometheus_is_told_to_read(helm3: Helm, served: Gauges) -> None:
    (endpoint,) = helm3.render(MONITORED).one("PodMonitor")["spec"]["podMetricsEndpoints"]
    assert endpoint["path"] == PATH
    assert served.keys() == HEALTHY.keys()


def test_prometheus_can_read_the_drivers_answer(promtool: Promtool, page: str) -> None:
    promtool.read(page)


@pytest.mark.parametrize("cron", ["", "@daily"])
@pytest.mark.parametrize("ratio", [0, 1e-5, 0.25, 1])
def test_prometheus_takes_the_rules(helm3: Helm, promtool: Promtool, cron: str, ratio: float) -> None:
    more = {"run": {"max_rejected_ratio": ratio}, "schedule": {"cron": cron}}
    promtool.check(groups(helm3.render(merge_values(MONITORED, more))))


@pytest.mark.parametrize("interval", ["15s", "2m"])
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"done": lambda minute: minute // 4},  # slow: a photograph in four minutes
        {"done": lambda minute: min(25 * minute, 1000) - 5 * (minute % 5 == 4)},  # a task was run again
        {"done": 0, "total": 0, "rejected": 0},  # nothing to be computed
        {"done": lambda minute: min(minute, 19), "rejected": lambda minute: min(minute, 19), "total": 19},  # too few
        {"rejected": lambda minute: min(2.5 * minute, 100)},  # as many as are allowed
    ],
)
def test_no_alert_fires_on_a_healthy_run(
    helm3: Helm, promtool: Promtool, served: Gauges, interval: str, changed: dict[str, Value]
) -> None:
    objects = helm3.render(merge_values(MONITORED, {"metrics": {"podMonitor": {"interval": interval}}}))
    series = series_of_run(served, target_labels(objects), **changed)
    assert_quiet(promtool, objects, interval, series | pod_phase(f"{RELEASE}-driver", "Running"))


@pytest.mark.parametrize(
    ("done", "quiet", "firing"),
    [
        (0, 15, 16),  # no executor ever came
        (lambda minute: min(25 * minute, 500), 39, 40),  # it stops after 20 minutes
    ],
)
def test_the_alert_of_a_run_that_stands_still_fires(
    helm3: Helm, promtool: Promtool, served: Gauges, done: Value, quiet: int, firing: int
) -> None:
    objects = helm3.render(MONITORED)
    target = target_labels(objects)
    series = read_every("15s", END, series_of_run(served, target, done=done, rejected=0))
    labels = served["done"].labels | target
    tests = [
        fires(objects, "VergerStandsStill", quiet, None),
        *(fires(objects, "VergerStandsStill", minute, labels) for minute in range(firing, END + 1)),
    ]
    promtool.test(groups(objects), series, alert_rule_test=tests)


@pytest.mark.parametrize(("ratio", "rejected"), [(None, 0.11), (0.02, 0.03), (0, 0.001)])
def test_the_alert_of_rejections_fires_above_the_runs_ratio(
    helm3: Helm, promtool: Promtool, served: Gauges, ratio: float | None, rejected: float
) -> None:
    more = {} if ratio is None else {"run": {"max_rejected_ratio": ratio}}
    objects = helm3.render(merge_values(MONITORED, more))
    target = target_labels(objects)
    series = series_of_run(served, target, rejected=lambda minute: rejected * min(25 * minute, 1000))
    labels = served["rejected"].labels | target
    tests = [fires(objects, "VergerRejectsTooMuch", minute, labels) for minute in range(2, END + 1)]
    promtool.test(groups(objects), read_every("15s", END, series), alert_rule_test=tests)


@pytest.mark.parametrize(
    ("cron", "pod"), [("", f"{RELEASE}-driver"), ("@daily", f"{RELEASE}-1764450000000000000-driver")]
)
def test_the_alert_of_a_failed_driver_fires(helm3: Helm, promtool: Promtool, cron: str, pod: str) -> None:
    objects = helm3.render(merge_values(MONITORED, {"schedule": {"cron": cron}}))
    labels = {"namespace": NAMESPACE, "pod": pod, "phase": "Failed", "uid": "0c3e"}
    labels |= {"job": "kube-state-metrics", "instance": "10.0.0.9:8080"}
    series = read_every("15s", 5, pod_phase(pod, "Failed"))
    tests = [fires(objects, "VergerFailed", minute, labels) for minute in range(1, 6)]
    promtool.test(groups(objects), series, alert_rule_test=tests)


def test_no_alert_fires_on_what_befalls_others(helm3: Helm, promtool: Promtool, served: Gauges) -> None:
    """Another release in the same namespace, the same release in another one, and pods of like names."""
    objects, neighbour = helm3.render(MONITORED), helm3.render(MONITORED, release="orchard-2")
    bad: dict[str, Value] = {"done": 20, "rejected": 20}
    assert_quiet(
        promtool,
        objects,
        "15s",
        series_of_run(served, target_labels(neighbour, "orchard-2"), **bad)
        | series_of_run(served, {**target_labels(objects), "namespace": "elsewhere"}, **bad)
        | pod_phase("orchard-2-driver", "Failed")
        | pod_phase("orchard-driver-2", "Failed")
        | pod_phase("orchard-driver", "Failed", "elsewhere")
        | pod_phase("orchard-driver", "Succeeded"),
    )


def panels() -> dict[tuple[str, str], Any]:
    """Queries and legends of the dashboard, by the panel's title and the letter of the query."""
    dashboard = json.loads((CHART / "files" / "dashboard.json").read_text())
    return {(panel["title"], target["refId"]): target for panel in dashboard["panels"] for target in panel["targets"]}


def shown(query: str, *releases: str) -> str:
    """A query as Grafana sends it where these releases are chosen."""
    chosen = releases[0] if len(releases) == 1 else f"({'|'.join(releases)})"
    found = query.replace("$release", chosen)
    assert "$" not in found
    return found


def legend(target: Object) -> str:
    """The one label that tells the answers of a query apart."""
    (label,) = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
    return str(label)


def test_every_panel_of_the_dashboard_shows_its_figure(helm3: Helm, promtool: Promtool, served: Gauges) -> None:
    """Of one release and of two, each by the label that the legend names, in the eleventh minute."""
    assert panels().keys() == SHOWN.keys()
    objects, neighbour = helm3.render(MONITORED), helm3.render(MONITORED, release="pears")
    series = series_of_run(served, target_labels(objects)) | series_of_run(served, target_labels(neighbour, "pears"))
    tests = []
    for key, target in panels().items():
        for releases in ((RELEASE,), ("pears", RELEASE)):
            query = f"sum by ({legend(target)}) ({shown(target['expr'], *releases)})"
            answer = [{"labels": f'{{{legend(target)}="{each}"}}', "value": SHOWN[key]} for each in releases]
            tests.append({"expr": query, "eval_time": "11m", "exp_samples": answer})
    promtool.test(groups(objects), read_every("15s", 20, series), promql_expr_test=tests)


def test_the_dashboard_finds_the_releases(helm3: Helm, promtool: Promtool, served: Gauges) -> None:
    """Grafana's ``label_values`` is the label of the series that this metric has."""
    dashboard = json.loads((CHART / "files" / "dashboard.json").read_text())
    (variable,) = [each for each in dashboard["templating"]["list"] if each["type"] == "query"]
    found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"])
    assert found
    objects = helm3.render(MONITORED)
    series = read_every("15s", 20, series_of_run(served, target_labels(objects)))
    answer = [{"labels": f'{{{found[2]}="{RELEASE}"}}', "value": 1}]
    test = {"expr": f"group by ({found[2]}) ({found[1]})", "eval_time": "11m", "exp_samples": answer}
    promtool.test(groups(objects), series, promql_expr_test=[test])
