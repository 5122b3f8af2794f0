"""How what tasks report is added up. It reaches the driver as a task ends."""

from __future__ import annotations

from pyspark import AccumulatorParam

from verger.network.worker import Processed


class ProcessedParam(AccumulatorParam[Processed]):
    """Adds the photographs of tasks. A task that ran twice reports twice: see `verger.network.extraction`."""

    def zero(self, value: Processed) -> Processed:
        """What there is before the first report.

        Parameters
        ----------
        value : Processed
            Not read.
        """
        return (0, ())

    def addInPlace(self, value1: Processed, value2: Processed) -> Processed:
        """Add two reports.

        Parameters
        ----------
        value1, value2 : Processed
            The reports.
        """
        return (value1[0] + value2[0], value1[1] + value2[1])


class SetParam(AccumulatorParam[frozenset[str]]):
    """Collects what tasks say, such as warnings, each once."""

    def zero(self, value: frozenset[str]) -> frozenset[str]:
        """What there is before the first report.

        Parameters
        ----------
        value : frozenset of str
            Not read.
        """
        return frozenset()

    def addInPlace(self, value1: frozenset[str], value2: frozenset[str]) -> frozenset[str]:
        """Add two reports.

        Parameters
        ----------
        value1, value2 : frozenset of str
            The reports.
        """
        return value1 | value2
