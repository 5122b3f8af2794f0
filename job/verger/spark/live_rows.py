"""How many rows the Python workers of running jobs have returned so far.

A Python accumulator reaches the driver when its task ends, and a task takes many seconds. The JVM of an executor counts
the rows that its Python workers return, and sends the counts with each heartbeat, while the task runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_NODE, _METRIC = "MapInArrow", "number of output rows"  # in the plan of a job that calls mapInArrow
_LATEST = 16  # executions that are looked at; only a few run at once


class LiveRows:
    """Counts the rows that mapInArrow has returned in running jobs, as of the executors' last heartbeats.

    Parameters
    ----------
    spark : SparkSession
        The session in which the jobs run.
    """

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark
        self._metrics: dict[int, int | None] = {}

    def by_description(self) -> dict[str, int]:
        """Count the rows of each running job.

        Returns
        -------
        dict of str to int
            Job description to rows; empty where Spark does not say. Rows of tasks that failed may be among them.
        """
        try:
            return self._counts()
        except Exception:  # the JVM may have died, which the jobs themselves report
            return {}

    def _counts(self) -> dict[str, int]:
        store: Any = self._spark._jsparkSession.sharedState().statusStore()
        first = max(0, store.executionsCount() - _LATEST)
        executions = store.executionsList(first, _LATEST)
        counts: dict[str, int] = {}
        for position in range(executions.size()):
            execution = executions.apply(position)
            if execution.completionTime().isDefined():
                continue
            if rows := self._rows(store, execution.executionId()):
                description = execution.description()
                counts[description] = counts.get(description, 0) + rows
        return counts

    def _rows(self, store: Any, execution: int) -> int:
        if execution not in self._metrics:
            self._metrics[execution] = _metric_of(store.planGraph(execution))
        metric = self._metrics[execution]
        value = None if metric is None else store.executionMetrics(execution).get(metric)
        # Spark gives it as text, such as "1,024".
        return int("".join(filter(str.isdigit, value.get())) or 0) if value is not None and value.isDefined() else 0


def _metric_of(graph: Any) -> int | None:
    """The number of the metric that counts the rows; None where there is no such step."""
    for node in _each(graph.allNodes()):
        if node.name() == _NODE:
            for metric in _each(node.metrics()):
                if metric.name() == _METRIC:
                    return int(metric.accumulatorId())
    return None


def _each(sequence: Any) -> list[Any]:
    """The elements of a sequence of Scala's."""
    return [sequence.apply(position) for position in range(sequence.size())]
