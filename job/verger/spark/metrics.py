"""A run's gauges for Prometheus, served with Spark's own metrics at the address of its UI."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# docs/operations.md explains them. They are served as metrics_verger_driver_AccumulatorSource_NAME_Value.
NAMES = (
    "photographs_listed",
    "photographs_known",
    "photographs_total",
    "photographs_done",
    "photographs_computed",
    "photographs_rejected",
    "photographs_per_s",
    "photographs_recognised",
    "photographs_near_duplicates",
    "photographs_suspected_mislabels",
)


class Gauges:
    """The gauges of one run. Without Spark's UI there are none, and setting them does nothing.

    An error here is ignored: it must not end the run.

    Parameters
    ----------
    spark : SparkSession
        A session that only this run uses, as names can be registered once a session.
    """

    def __init__(self, spark: SparkSession) -> None:
        self._gauges: dict[str, Any] = {}
        with suppress(Exception):
            context, jvm = spark.sparkContext, spark.sparkContext._jvm
            assert jvm is not None
            if context.uiWebUrl is None:
                return
            gauges = {name: jvm.org.apache.spark.util.DoubleAccumulator() for name in NAMES}
            # Scala's object, not its class: Py4J cannot load SparkEnv, as some classes of its fields are missing.
            source = getattr(jvm.org.apache.spark.metrics.source, "DoubleAccumulatorSource$")
            getattr(source, "MODULE$").register(context._jsc.sc(), jvm.PythonUtils.toScalaMap(gauges))
            self._gauges = gauges

    def set(self, **values: float) -> None:
        """Set some of the gauges.

        Parameters
        ----------
        **values
            By name without ``photographs_``; a name that is no gauge is ignored.
        """
        with suppress(Exception):
            for name, value in values.items():
                if gauge := self._gauges.get(f"photographs_{name}"):
                    gauge.setValue(float(value))
