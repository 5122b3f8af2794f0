"""The extraction stage: photographs to features on Spark, wave by wave."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark import AccumulatorParam

from verger.config import RunConfig
from verger.errors import DoesNotFitError, Reason, Rejection
from verger.network.backbones import Frozen, Network
from verger.network.waves import partition_count, wave_size
from verger.network.worker import Extractor, Tally, rejected_row
from verger.spark.failures import worker_lost
from verger.spark.session import write_parquet
from verger.storage.buckets import connected
from verger.tables.schemas import REJECTED
from verger.tables.store import FeatureStore

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.accumulators import Accumulator
    from pyspark.sql import SparkSession

# More photographs than this that each kill their worker, and more than the run may reject, are no accident of
# decoding but a lack of memory; to try every photograph alone would take for ever.
_MAX_KILLERS = 10

FEATURES_DDL = (
    "path string, label string, split string, version string, sha256 string, size bigint, "
    "width int, height int, features array<float>, extracted_at timestamp"
)


@dataclass(frozen=True, slots=True)
class Extracted:
    """What came of the photographs that the store lacked.

    Attributes
    ----------
    computed : int
        Photographs whose features are in the store now.
    rejected : pyarrow.Table
        The others, with reasons; schema REJECTED.
    """

    computed: int
    rejected: pa.Table


def deal(photographs: pa.Table, partitions: int) -> pa.Table:
    """Deal photographs to as many chunks as there are partitions, large and small ones mixed.

    Returns
    -------
    pyarrow.Table
        One chunk a partition: Spark makes a task of each. Nothing is shuffled: adaptive execution would make one
        task of a join's output, and a lost executor would take a shuffle's output with it.
    """
    by_size = photographs.sort_by([("size", "descending"), ("path", "ascending")])
    hands = [by_size.take(pa.array(range(first, by_size.num_rows, partitions))) for first in range(partitions)]
    return pa.Table.from_batches([hand.combine_chunks().to_batches()[0] for hand in hands if hand.num_rows])


class _TallyParam(AccumulatorParam[Tally]):
    """Tallies reach the driver as tasks end; a task that ran twice is counted twice, so that rows are made unique."""

    def zero(self, value: Tally) -> Tally:
        return (0, ())

    def addInPlace(self, value1: Tally, value2: Tally) -> Tally:
        return (value1[0] + value2[0], value1[1] + value2[1])


def rejected_table(rows: Iterable[tuple[Any, ...]]) -> pa.Table:
    """Rejections as a table, one row a path: a task that ran twice tells of its photographs twice."""
    unique = {row[0]: row for row in rows}
    listed = [dict(zip(REJECTED.names, unique[path], strict=True)) for path in sorted(unique)]
    return pa.Table.from_pylist(listed, schema=REJECTED)


class Extraction:
    """Compute what the store lacks, wave by wave.

    Parameters
    ----------
    spark : SparkSession
    network : Network
    store : FeatureStore
        Each wave becomes a directory of its own in it, so that a crash loses at most the waves in flight.
    run_id : str
    config : RunConfig
    report : callable
        Told (done, rejected) as tasks end.
    """

    def __init__(
        self,
        spark: SparkSession,
        network: Network,
        store: FeatureStore,
        run_id: str,
        config: RunConfig,
        report: Callable[[int, int], None],
    ) -> None:
        self._spark = spark
        self._network = network
        self._store = store
        self._run_id = run_id
        self._config = config
        self._report = report
        self._cores = spark.sparkContext.defaultParallelism
        self._frozen: Broadcast[Frozen] = spark.sparkContext.broadcast(network.freeze())
        self._in_flight: dict[str, Accumulator[Tally]] = {}
        self._total = self._done = self._rejected = self._killers = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def run(self, photographs: pa.Table) -> Extracted:
        """Compute, write and remember the features of ``photographs`` (inventory columns).

        Raises
        ------
        DoesNotFitError
            Memory or disk did not suffice.
        """
        self._total = photographs.num_rows
        size = wave_size(self._config, self._cores, self._network.photographs_per_s_per_core)
        # Two at a time: the next wave takes the cores that this one's last tasks and its commit leave idle.
        with ThreadPoolExecutor(2, thread_name_prefix="verger-wave") as pool:
            waves = [
                pool.submit(self._compute, f"{number:05d}", photographs.slice(start, size))
                for number, start in enumerate(range(0, photographs.num_rows, size))
            ]
            try:
                self._watch(waves)
            except BaseException:
                self._stop(waves)
                raise
            finally:
                with suppress(Exception):
                    self._frozen.destroy()
        done = [wave.result() for wave in waves]
        rejected = pa.concat_tables([REJECTED.empty_table(), *(wave.rejected for wave in done)])
        return Extracted(sum(wave.computed for wave in done), rejected)

    def _watch(self, waves: list[Future[Extracted]]) -> None:
        """Report until every wave is committed, or one has failed; the main thread stays open to signals."""
        pending = set(waves)
        while pending:
            done, pending = wait(pending, timeout=0.5, return_when=FIRST_EXCEPTION)
            for wave in done:
                wave.result()
            self._report(*self._progress())

    def _stop(self, waves: list[Future[Extracted]]) -> None:
        """Leave nothing half-written: Spark removes what a cancelled job has written."""
        self._stopped.set()
        for wave in waves:
            wave.cancel()
        pending = {wave for wave in waves if not wave.done()}
        while pending:
            with suppress(Exception):  # where the JVM is gone, so are its jobs
                self._spark.sparkContext.cancelAllJobs()
            pending = wait(pending, timeout=0.2).not_done

    def _progress(self) -> tuple[int, int]:
        with self._lock:
            tallies = [tally.value for tally in self._in_flight.values()]
            done = self._done + sum(done for done, _ in tallies)
            return done, self._rejected + sum(len(rejected) for _, rejected in tallies)

    def _compute(self, name: str, photographs: pa.Table) -> Extracted:
        """One wave; where a photograph kills its worker, in halves, down to that photograph."""
        try:
            return self._attempt(name, photographs)
        except Exception as error:
            self._store.discard(self._run_id, name)
            if self._stopped.is_set() or not worker_lost(error):
                raise
        if photographs.num_rows == 1:
            return self._killed(name, photographs)
        middle = photographs.num_rows // 2
        first = self._compute(f"{name}a", photographs.slice(0, middle))
        second = self._compute(f"{name}b", photographs.slice(middle))
        return Extracted(first.computed + second.computed, pa.concat_tables([first.rejected, second.rejected]))

    def _attempt(self, name: str, photographs: pa.Table) -> Extracted:
        tally = self._spark.sparkContext.accumulator((0, ()), _TallyParam())
        with self._lock:
            self._in_flight[name] = tally
        try:
            self._spark.sparkContext.setJobDescription(f"features, wave {name}")  # of this thread's jobs, in Spark's UI
            dealt = deal(photographs, partition_count(photographs.num_rows, self._cores, self._config))
            features = self._spark.createDataFrame(dealt).mapInArrow(self._extractor(tally), FEATURES_DDL)
            write_parquet(features, self._store.spark_folder(self._run_id, name))
        finally:
            with self._lock:  # a failed attempt is told of again by its halves
                del self._in_flight[name]
        return self._committed(name, photographs.num_rows, rejected_table(tally.value[1]))

    def _killed(self, name: str, photographs: pa.Table) -> Extracted:
        """The photograph on which a worker died, quarantined."""
        with self._lock:
            self._killers += 1
        if self._killers > max(_MAX_KILLERS, self._config.max_rejected_ratio * self._total):
            raise DoesNotFitError(
                f"Python workers died on {self._killers} photographs, the last {photographs['path'][0]}",
                "This looks like too little memory: use fewer --cores or a smaller --batch-size",
            )
        rejection = Rejection(Reason.UNREADABLE, "the process that decoded it died")
        row = rejected_row(photographs.to_pylist()[0], rejection)
        return self._committed(name, 1, rejected_table([row]))

    def _committed(self, name: str, total: int, rejected: pa.Table) -> Extracted:
        permanent = [reason.value for reason in Reason if reason.permanent]
        kept = rejected.filter(pc.is_in(rejected["reason"], pa.array(permanent)))
        self._store.remember(self._run_id, name, kept)
        with self._lock:
            self._done += total
            self._rejected += rejected.num_rows
        return Extracted(total - rejected.num_rows, rejected)

    def _extractor(self, tally: Accumulator[Tally]) -> Extractor:
        network, config = self._network, self._config
        return Extractor(
            frozen=self._frozen,
            key=network.fingerprint,
            dimension=network.dimension,
            input_size=network.input_size,
            resample=network.resample,
            fit=network.fit,
            batch_size=config.batch_size,
            tally=tally,
            buckets=connected(),
        )
