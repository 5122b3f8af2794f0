"""spark/submitted: what is added to a submission, and what of it stays the submission's."""

from __future__ import annotations

import types
from typing import Any

import pytest
from pyspark import SparkConf, SparkContext

from verger.errors import UsageError
from verger.spark import submitted
from verger.storage.buckets import Bucket


def completed(**settings: str) -> dict[str, str]:
    """Settings of spark-submit, with ``__`` for a dot, as the session completes them."""
    conf = SparkConf(loadDefaults=False)
    conf.setAll([(f"spark.{name.replace('__', '.')}", value) for name, value in settings.items()])
    submitted.add_defaults(conf)
    return {name.removeprefix("spark."): value for name, value in conf.getAll()}


def test_in_kubernetes_ports_are_fixed_and_executors_may_fail() -> None:
    settings = completed(master="k8s://https://kubernetes.default.svc", executor__instances="3", executor__cores="4")
    assert (
        settings.items()
        >= {
            "task.maxFailures": "8",
            "executor.maxNumFailures": "20",
            "executor.failuresValidityInterval": "1h",
            "decommission.enabled": "true",
            "driver.port": "7078",
            "driver.blockManager.port": "7079",
            "blockManager.port": "7079",
            "executor.syncLogLevel.enabled": "true",
            "default.parallelism": "12",
            "metrics.namespace": "verger",
        }.items()
    )
    # It would be the limit of a worker's address space, in which TensorFlow does not fit.
    assert "executor.pyspark.memory" not in settings


def test_more_executors_may_fail_more_often_and_dynamic_ones_are_not_counted() -> None:
    settings = completed(master="k8s://x", executor__instances="50", dynamicAllocation__enabled="true")
    assert settings["executor.maxNumFailures"] == "250"
    assert "default.parallelism" not in settings


def test_settings_of_the_submission_win() -> None:
    settings = completed(master="k8s://x", task__maxFailures="2", metrics__namespace="orchard")
    assert (settings["task.maxFailures"], settings["metrics.namespace"]) == ("2", "orchard")


def test_outside_kubernetes_only_metrics_are_added() -> None:
    names = completed(master="local[2]").keys() - {"master"}
    assert names and all("metrics" in name or "prometheus" in name for name in names)


@pytest.mark.parametrize("known", [None, "/tmp/authorities.p12"])
def test_a_bundle_needs_a_jvm_with_a_trust_store(monkeypatch: pytest.MonkeyPatch, known: str | None) -> None:
    system = types.SimpleNamespace(getProperty=lambda name: known if name == "javax.net.ssl.trustStore" else None)
    jvm: Any = types.SimpleNamespace(java=types.SimpleNamespace(lang=types.SimpleNamespace(System=system)))
    monkeypatch.setattr(SparkContext, "_jvm", jvm)
    submitted.require_trust_store([Bucket("plain", "eu-west-3")])
    bundled = [Bucket("plain", "eu-west-3"), Bucket("bundled", "eu-west-3", ca_bundle="/etc/ca.pem")]
    if known:
        submitted.require_trust_store(bundled)
    else:
        with pytest.raises(UsageError, match=r"/etc/ca.pem.*AWS_CA_BUNDLE"):
            submitted.require_trust_store(bundled)
