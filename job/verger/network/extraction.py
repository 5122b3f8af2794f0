"""The extraction stage: photographs to features on Spark, in waves."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from verger.config import ExtractionSettings
from verger.errors import DoesNotFitError, Reason, Rejection, StoreError, VergerError
from verger.network.accumulators import ProcessedParam, SetParam
from verger.network.backbones import Frozen, Network
from verger.network.waves import partition_count, task_counts, wave_size
from verger.network.worker import Extractor, Processed, RejectsWriter, rejected_row, rejected_table
from verger.photographs.inventory import SCHEMA
from verger.spark.failures import crash_message, worker_lost
from verger.spark.jobs import cancel_jobs_until
from verger.spark.live_rows import LiveRows
from verger.spool import Spool
from verger.storage.buckets import Bucket
from verger.tables.parts import COUNTED, CountedPartWriter
from verger.tables.schemas import FEATURES, REJECTED
from verger.tables.store import FeatureStore

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.accumulators import Accumulator
    from pyspark.sql import SparkSession

    from verger.network.loading import NetworkLoading

# A decoder may crash the worker process on a damaged photograph. More crashes than this, and than the run may reject,
# mean that memory is too small. To look for each such photograph would then take too long.
_MAX_WORKER_CRASHES = 10
# The same of crashes without a word, as long as no wave was computed.
_MAX_FIRST_CRASHES = 2

_REPORT_S = 0.25
_WAVE = "{:05d}"
_FIRST_WAVE = _WAVE.format(0)


@dataclass(frozen=True, slots=True)
class WaveResult:
    """What became of the photographs that were to be extracted.

    Attributes
    ----------
    computed : int
        Number of photographs whose features are now in the store.
    rejected : pyarrow.Table
        The other photographs with the reasons; schema REJECTED.
    """

    computed: int
    rejected: pa.Table


def partition_round_robin(photographs: pa.Table, partitions: int, batch_size: int) -> pa.Table:
    """Distribute photographs over partitions in turn, the largest first, so that each has large and small ones.

    Partitions consist of whole batches, as far as there are enough: the rest of a batch is padding, which is computed
    as well.

    Spark makes a task of each chunk of the table, without a shuffle. After a shuffle, adaptive execution might merge
    all partitions into one task, and a lost executor would lose its part of the shuffle.

    Parameters
    ----------
    photographs : pyarrow.Table
        Columns of the inventory; at least one row.
    partitions : int
        How many, at least 1.
    batch_size : int
        Photographs of a batch.

    Returns
    -------
    pyarrow.Table
        The same rows, one chunk per partition; fewer chunks if there are fewer rows.
    """
    by_size = photographs.sort_by([("size", "descending"), ("path", "ascending")])
    shares = max(partitions, math.ceil(by_size.num_rows / batch_size))  # of at most a batch each
    partition = np.arange(by_size.num_rows) % shares % partitions
    parts = [by_size.filter(pa.array(partition == number)) for number in range(partitions)]
    return pa.Table.from_batches([part.combine_chunks().to_batches()[0] for part in parts if part.num_rows])


def _description(wave: str) -> str:
    """By which Spark names the job of a wave."""
    return f"features, wave {wave}"


class Extraction:
    """Compute the features that the store lacks, in waves.

    Parameters
    ----------
    spark : SparkSession
        Its default parallelism is taken as the number of cores.
    network : Network
        Broadcast to the executors.
    store : FeatureStore
        Each wave becomes a folder in it, and each task a file, so a crash loses at most the tasks in flight.
    run_id : str
        Begins the names of these directories.
    config : ExtractionSettings
        Batch size, wave size, partitions, and the share of photographs that may be rejected.
    report : callable
        Called four times a second with two numbers of photographs: processed so far, and rejected of these.
    buckets : tuple of Bucket
        How the buckets are reached that photographs may be in.
    warn : callable, optional
        Takes a warning, one line, of what a machine that computes features cannot serve; each once.
    workers : callable, optional
        Called as often as ``report`` with two numbers of workers: that have loaded the network, and that will.
    loading : NetworkLoading, optional
        The same network, which workers load already.
    """

    def __init__(
        self,
        spark: SparkSession,
        network: Network,
        store: FeatureStore,
        run_id: str,
        config: ExtractionSettings,
        report: Callable[[int, int], None],
        buckets: tuple[Bucket, ...] = (),
        warn: Callable[[str], None] = lambda _: None,
        workers: Callable[[int, int], None] = lambda *_: None,
        loading: NetworkLoading | None = None,
    ) -> None:
        self._spark = spark
        self._network = network
        self._store = store
        self._run_id = run_id
        self._config = config
        self._report = report
        self._buckets = buckets
        self._warn = warn
        self._warnings: Accumulator[frozenset[str]]
        self._warnings = spark.sparkContext.accumulator(frozenset(), SetParam())
        self._warned: frozenset[str] = frozenset()
        self._workers = workers
        self._loaded: Accumulator[frozenset[str]]
        self._loaded = loading.loaded if loading else spark.sparkContext.accumulator(frozenset(), SetParam())
        self._cores = spark.sparkContext.defaultParallelism
        self._frozen: Broadcast[Frozen]
        self._frozen = loading.frozen if loading else spark.sparkContext.broadcast(network.freeze())
        self._in_flight: dict[str, Accumulator[Processed]] = {}
        self._live_rows = LiveRows(spark)
        self._total = self._wave_rows = self._done = self._rejected = self._crashes = 0
        self._lock = threading.Lock()
        self._cancelled = threading.Event()

    def run(self, photographs: Spool) -> WaveResult:
        """Compute the features of photographs and write them to the store, with the permanent rejections.

        Parameters
        ----------
        photographs : Spool
            With the columns of the inventory; each wave's rows are read as it begins.

        Returns
        -------
        WaveResult
            How many were computed, and which were rejected.

        Raises
        ------
        DoesNotFitError
            There is too little memory or disk space.
        """
        self._total = photographs.num_rows
        self._wave_rows = size = wave_size(self._config, self._cores, self._network.photographs_per_s_per_core)
        # Two at a time: the next wave uses the cores that are idle during the last tasks and the commit of this one.
        with ThreadPoolExecutor(2, thread_name_prefix="verger-wave") as pool:
            waves = [
                pool.submit(self._extract_rows, _WAVE.format(number), photographs, start, size)
                for number, start in enumerate(range(0, photographs.num_rows, size))
            ]
            try:
                self._await(waves)
            except BaseException:
                self._cancel(waves)
                raise
            finally:
                with suppress(Exception):
                    self._frozen.destroy()
        done = [wave.result() for wave in waves]
        rejected = pa.concat_tables([REJECTED.empty_table(), *(wave.rejected for wave in done)])
        return WaveResult(sum(wave.computed for wave in done), rejected)

    def _await(self, waves: list[Future[WaveResult]]) -> None:
        """Report until every wave is committed or one has failed. The timeout lets the main thread handle signals."""
        pending = set(waves)
        self._count_workers()
        while pending:
            done, pending = wait(pending, timeout=_REPORT_S, return_when=FIRST_EXCEPTION)
            for wave in done:
                wave.result()
            self._count_workers()
            self._report(*self._progress())
            self._warn_once()

    def _count_workers(self) -> None:
        """Tell how many workers have loaded the network, as far as their first tasks have ended."""
        needed = min(self._cores, partition_count(min(self._total, self._wave_rows), self._cores, self._config))
        self._workers(min(len(self._loaded.value), needed), needed)

    def _warn_once(self) -> None:
        new, self._warned = self._warnings.value - self._warned, self._warnings.value
        for warning in sorted(new):
            self._warn(warning)

    def _cancel(self, waves: list[Future[WaveResult]]) -> None:
        """Cancel all waves. What their finished tasks have written stays."""
        self._cancelled.set()
        for wave in waves:
            wave.cancel()
        ended = threading.Event()
        cancelling = threading.Thread(target=cancel_jobs_until, args=(ended, self._spark.sparkContext), daemon=True)
        cancelling.start()
        wait(wave for wave in waves if not wave.cancelled())
        ended.set()

    def _progress(self) -> tuple[int, int]:
        rows = self._live_rows.by_description()  # accumulators know only the tasks that have ended
        with self._lock:
            in_flight = {name: processed.value for name, processed in self._in_flight.items()}
            rejected = {name: len(rejections) for name, (_, rejections) in in_flight.items()}
            done = [
                max(ended, rows.get(_description(name), 0) + rejected[name]) for name, (ended, _) in in_flight.items()
            ]
            return self._done + sum(done), self._rejected + sum(rejected.values())

    def _extract_rows(self, name: str, photographs: Spool, start: int, size: int) -> WaveResult:
        return self._extract(name, photographs.slice(start, size).select(SCHEMA.names))

    def _extract(self, name: str, photographs: pa.Table) -> WaveResult:
        """Extract one wave. If a Python worker dies, try both halves, down to the photograph that causes it."""
        try:
            return self._run_job(name, photographs)
        except Exception as error:
            if self._cancelled.is_set() or not worker_lost(error):
                raise  # what finished tasks have written is known to the next run
            crash = crash_message(error)
            with suppress(StoreError):  # tasks may still be writing; readers take one of two rows
                self._store.discard(self._run_id, name)
        if photographs.num_rows == 1:
            return self._reject_crash(name, photographs, crash)
        middle = photographs.num_rows // 2
        first = self._extract(f"{name}a", photographs.slice(0, middle))
        second = self._extract(f"{name}b", photographs.slice(middle))
        return WaveResult(first.computed + second.computed, pa.concat_tables([first.rejected, second.rejected]))

    def _run_job(self, name: str, photographs: pa.Table) -> WaveResult:
        processed = self._spark.sparkContext.accumulator((0, ()), ProcessedParam())
        with self._lock:
            self._in_flight[name] = processed
        try:
            self._spark.sparkContext.setJobDescription(_description(name))  # in Spark's UI, too
            partitioned = self._partitioned(name, photographs)
            counted = self._spark.createDataFrame(partitioned).mapInArrow(self._writer(name, processed), COUNTED)
            counted.write.format("noop").mode("overwrite").save()
        except BaseException:
            with self._lock:  # the halves of a failed wave are counted instead of it
                del self._in_flight[name]
            raise
        return self._commit(name, photographs.num_rows, rejected_table(processed.value[1]))

    def _partitioned(self, name: str, photographs: pa.Table) -> pa.Table:
        """A chunk for each task. The first tasks of a run are small, so that its first photographs appear at once."""
        first, count = task_counts(photographs.num_rows, self._cores, self._config, name == _FIRST_WAVE)
        head = photographs.slice(0, first * self._config.batch_size)
        size = self._config.batch_size
        partitioned = partition_round_robin(photographs.slice(head.num_rows), count, size)
        return pa.concat_tables([partition_round_robin(head, first, size), partitioned]) if first else partitioned

    def _reject_crash(self, name: str, photographs: pa.Table, crash: str) -> WaveResult:
        """Reject the one photograph on which a Python worker died, perhaps with words."""
        with self._lock:
            self._crashes += 1
            most = max(_MAX_WORKER_CRASHES, self._config.max_rejected_ratio * self._total)
            if not crash and self._done == self._rejected:
                most = min(most, _MAX_FIRST_CRASHES)
        if self._crashes > most:
            what = f"Python workers died on {self._crashes} photographs, the last {photographs['path'][0]}"
            if crash:
                raise VergerError(f"{what}: {crash}", "Leave it out with --exclude, and report it")
            raise DoesNotFitError(
                f"{what}; they were killed, as the kernel does where memory is short",
                "Look for its out-of-memory killer in dmesg, and use fewer --cores or a smaller --batch-size",
            )
        rejection = Rejection(Reason.UNREADABLE, "the process that decoded it died")
        row = rejected_row(photographs.to_pylist()[0], rejection)
        return self._commit(name, 1, rejected_table([row]))

    def _commit(self, name: str, total: int, rejected: pa.Table) -> WaveResult:
        with self._lock:  # at once, so that the count never falls
            self._in_flight.pop(name, None)
            self._done += total
            self._rejected += rejected.num_rows
        return WaveResult(total - rejected.num_rows, rejected)

    def _writer(self, wave: str, processed: Accumulator[Processed]) -> CountedPartWriter:
        network, config = self._network, self._config
        extractor = Extractor(
            frozen=self._frozen,
            fingerprint=network.fingerprint,
            dimension=network.dimension,
            input_size=network.input_size,
            resample=network.resample,
            fit=network.fit,
            decode=network.decode,
            batch_size=config.batch_size,
            processed=processed,
            buckets=self._buckets,
            precision=network.precision,
            warnings=self._warnings,
            loaded=self._loaded,
            rejects=RejectsWriter(
                self._store.output,
                self._store.fingerprint,
                self._store.decoders,
                self._run_id,
                wave,
                self._buckets,
            ),
        )
        folder = self._store.wave_folder(self._run_id, wave)
        return CountedPartWriter(extractor, FEATURES, folder, "part", self._buckets)
