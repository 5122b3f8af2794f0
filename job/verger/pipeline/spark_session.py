"""The Spark of a run: given, or its own, which may start beside the listing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from verger.insight.analysis import preload
from verger.network.backbones import Network
from verger.network.prestart import DAEMON, Prestart
from verger.pipeline.values import Job, Session
from verger.residency.nodes import Executors, check_executors
from verger.spark import machine, variables
from verger.spark.executors import watch_executors
from verger.spark.metrics import Gauges
from verger.spark.session import SETTINGS, session
from verger.spark.starting import StartingSession

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    from verger.network.loading import NetworkLoading

# Workers that compute features are forked from a process that has imported TensorFlow.
_FORKED_WITH_NETWORK = {"spark.python.daemon.module": DAEMON}
_EXECUTORS = "spark.executorEnv."


class RunSession:
    """The Spark of one run. Where photographs will be computed it starts early, and its workers load the network.

    It is a context: where the run ends before it works in a Spark that has started, that one ends too.

    Parameters
    ----------
    job : Job
        Its settings shape a new session, whose work ends where the store of its input or output is gone.
    network : Network
        What the workers load.
    given : SparkSession, optional
        One to work in; default: an own one, which ends with the run.
    """

    def __init__(self, job: Job, network: Network, given: SparkSession | None) -> None:
        self._job = job
        self._network = network
        self._given = given
        self._starting: StartingSession | None = None
        self._prestart: Prestart | None = None
        self._executors: Executors | None = None
        self._loading: NetworkLoading | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._starting is not None:
                self._starting.cancel()
        finally:
            if self._prestart is not None:
                self._prestart.close()

    def start(self) -> None:
        """Start an own session in a thread, now that it is needed; later calls do nothing.

        What goes wrong is told by `opened`.
        """
        if self._given is None and self._starting is None:
            job = self._job
            more = dict(_FORKED_WITH_NETWORK) if self._network.recipe else {}
            if more and not variables.is_submitted():  # on a cluster, executors have no process of ours
                self._prestart = Prestart(_environment_of_workers())
                more |= self._prestart.settings
            places = (job.run.output, job.config.input)
            self._starting = StartingSession(job.config, job.stores, places, self._prepare, more)

    def _prepare(self, context: SparkContext, stack: ExitStack) -> None:
        """In the thread of the start: check the executors before they are sent anything, then let them load."""
        self._executors = stack.enter_context(check_executors(context, self._job.config))
        with suppress(Exception):  # the extraction broadcasts the network itself, and says what is wrong
            from verger.network.loading import NetworkLoading  # which imports what workers need

            self._loading = NetworkLoading(context, self._network, self._job.config.batch_size)

    @contextmanager
    def opened(self) -> Iterator[Session]:
        """The session, with the location of its executors checked; an own one ends with the context.

        Yields
        ------
        Session
            To work in.

        Raises
        ------
        UsageError, StoreError, DoesNotFitError
            As `verger.spark.session.session`.
        ResidencyError
            As `verger.residency.nodes.check_executors`.
        """
        job = self._job
        config, output = job.config, job.run.output
        with ExitStack() as stack, watch_executors(job.progress.executors):  # not when Spark stops: they leave then
            spark = self._given
            if spark is None:
                if self._starting is None:
                    preload(config)
                with job.progress.stage("session", "Starting Spark"):
                    own = self._starting.used() if self._starting else session(config, job.stores, output, config.input)
                    spark = stack.enter_context(own)
            executors = (
                self._executors if self._starting else stack.enter_context(check_executors(spark.sparkContext, config))
            )
            if executors is not None:
                executors.raise_if_refused()  # they are watched since Spark started, perhaps beside a long listing
            show = Gauges(spark).set if self._given is None else lambda **_: None
            cores = spark.sparkContext.defaultParallelism
            yield Session(cores, executors, show, spark=spark, loading=self._loading)


def _environment_of_workers() -> dict[str, str]:
    """What Spark's daemon is started with on this machine, as far as Python and the modules that it imports read it."""
    given = {name.removeprefix(_EXECUTORS): value for name, value in SETTINGS.items() if name.startswith(_EXECUTORS)}
    python = {"PYTHONHASHSEED": os.environ.get("PYTHONHASHSEED", "0"), "PYTHONUNBUFFERED": "YES"}  # as Spark does
    return variables.without_spark(os.environ) | machine.locale() | given | python
