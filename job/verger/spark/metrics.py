"""The figures of a run for Prometheus, beside Spark's own at the address of its UI."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# What docs/operations.md explains; served as metrics_verger_driver_AccumulatorSource_NAME_Value.
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
    """Numbers that whoever scrapes the driver reads; where there is no UI, nobody does, and nothing is kept.

    No failure here is one of the run.

    Parameters
    ----------
    spark : SparkSession
        One of our own: names are registered once a session.
    """

    def __init__(self, spark: SparkSession) -> None:
        self._numbers: dict[str, Any] = {}
        with suppress(Exception):
            context, jvm = spark.sparkContext, spark.sparkContext._jvm
            assert jvm is not None
            if context.uiWebUrl is None:
                return
            numbers = {name: jvm.org.apache.spark.util.DoubleAccumulator() for name in NAMES}
            # Scala's object, not its class: Py4J cannot look at SparkEnv, of which not all classes are there.
            source = getattr(jvm.org.apache.spark.metrics.source, "DoubleAccumulatorSource$")
            getattr(source, "MODULE$").register(context._jsc.sc(), jvm.PythonUtils.toScalaMap(numbers))
            self._numbers = numbers

    def show(self, **figures: float) -> None:
        """Set some of the numbers, each called as after ``photographs_``."""
        with suppress(Exception):
            for name, figure in figures.items():
                if number := self._numbers.get(f"photographs_{name}"):
                    number.setValue(float(figure))
